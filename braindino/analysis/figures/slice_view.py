"""Show prepared slices in anatomical orientation, with true proportions and marked sides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes

SIDES = (("L", "R"), ("P", "A"), ("I", "S"))  # of x, y and z: at the smaller and at the larger end
UNKNOWN_SIDES = "????"
SIDE_COLOUR = "#ffd166"


@dataclass(frozen=True)
class SliceView:
    """The orientation and pixel shape with which a slice (H, W) is shown.

    Attributes:
        aspect: height of a pixel by its width.
        sides: the anatomical side at the left, right, bottom and top, a letter each; `?` where unknown.
        upright: whether row 0 is at the bottom.
    """

    aspect: float = 1.0
    sides: str = UNKNOWN_SIDES
    upright: bool = True

    @classmethod
    def of(cls, affine: NDArray[np.float64], placed: bool = True) -> "SliceView":
        """Return the view of a grid, with anterior or else superior at the top if rows run along it.

        Args:
            affine: (4, 4), prepared voxel (slice, row, column) -> mm in RAS.
            placed: whether the header of the scan gives an orientation; if not, no side is marked.
        """
        directions = np.asarray(affine, np.float64)[:3, 1:3]
        rows, columns = np.linalg.norm(directions, axis=0)
        aspect = float(rows / columns) if rows > 0 and columns > 0 else 1.0
        if not placed:
            return cls(aspect)
        below, above = _ends(directions[:, 0])
        left, right = _ends(directions[:, 1])
        upright = above in "AS" or below not in "AS"
        sides = left + right + (below + above if upright else above + below)
        return cls(aspect, sides, upright)

    @property
    def origin(self) -> Any:
        """Return the argument `origin` of matplotlib's `imshow`."""
        return "lower" if self.upright else "upper"

    def extent(self, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
        """Return the argument `extent` of `imshow` for an image that covers a slice.

        Args:
            shape: (H, W) of the slice [pixels].
        """
        low, high = -0.5, shape[0] - 0.5
        return (-0.5, shape[1] - 0.5, *((low, high) if self.upright else (high, low)))

    def height(self, shape: tuple[int, ...]) -> float:
        """Return the height of a shown slice by its width.

        Args:
            shape: (H, W) of the slice [pixels].
        """
        return shape[0] * self.aspect / shape[1]


def views_to_arrays(views: Sequence[SliceView]) -> dict[str, Any]:
    """Return views as arrays of an .npz: `aspect`, `sides` and `upright`, a row per slice.

    Args:
        views: views of the slices.
    """
    return {
        "aspect": np.array([view.aspect for view in views]),
        "sides": np.array([view.sides for view in views], dtype=str),
        "upright": np.array([view.upright for view in views]),
    }


def views_from_arrays(arrays: Mapping[str, Any], count: int) -> list[SliceView]:
    """Return the views of the slices in an .npz; files of earlier versions have no sides.

    Args:
        arrays: arrays of the .npz.
        count: number of slices.
    """
    if "sides" in arrays and "aspect" in arrays:
        rows = zip(arrays["aspect"], arrays["sides"], arrays["upright"], strict=True)
        return [SliceView(float(aspect), str(sides), bool(upright)) for aspect, sides, upright in rows]
    upright = bool(np.all(arrays["upright"])) if "upright" in arrays else True
    return [SliceView(upright=upright)] * count


def mark_sides(axis: Axes, view: SliceView, size: float = 7) -> None:
    """Write the letters of the known sides inside the edges of a slice.

    Args:
        axis: axes with the slice.
        view: view of the slice.
        size: size of the letters [points].
    """
    places = (
        *((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center")),
        *((0.5, 0.02, "center", "bottom"), (0.5, 0.98, "center", "top")),
    )
    for letter, (x, y, horizontal, vertical) in zip(view.sides, places, strict=True):
        if letter != "?":
            axis.text(
                x,
                y,
                letter,
                transform=axis.transAxes,
                ha=horizontal,
                va=vertical,
                fontsize=size,
                color=SIDE_COLOUR,
                fontweight="bold",
                path_effects=[withStroke(linewidth=2, foreground="black")],
            )


def foreground(image: NDArray[Any], background: float = 0.0) -> NDArray[np.bool_]:
    """Return the foreground of a slice: all pixels but the background that reaches its edge.

    A store has the same number for the background and for a voxel of the mean intensity; a pixel with that
    number counts as background only if it is not enclosed.

    Args:
        image: (H, W).
        background: value of the background.
    """
    filled: NDArray[np.bool_] = binary_fill_holes(image != background)
    return filled


def _ends(direction: NDArray[np.float64]) -> tuple[str, str]:
    """Return the letters at the start and at the end of an axis."""
    axis = int(np.abs(direction).argmax())
    low, high = SIDES[axis]
    return (low, high) if direction[axis] > 0 else (high, low)
