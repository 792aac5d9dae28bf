"""Show prepared slices as they lie in the body: true proportions, sides marked, background black."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes

LETTERS = (
    ("L", "R"),
    ("P", "A"),
    ("I", "S"),
)  # along x, y, z: the smaller end, the larger end
UNKNOWN = "????"


@dataclass(frozen=True)
class SliceView:
    """How slices (H, W) are put on the page.

    Attributes:
        aspect: height of a pixel by its width.
        sides: what lies left, right, below and above, a letter each; `?` where it is not known.
        upright: whether row 0 is at the bottom.
    """

    aspect: float = 1.0
    sides: str = UNKNOWN
    upright: bool = True

    @classmethod
    def of(cls, affine: NDArray[np.float64], placed: bool = True) -> "SliceView":
        """Return the view of a grid; the front, or else the top, is up where rows run along it.

        Args:
            affine: (4, 4), prepared voxel (slice, row, column) -> mm towards right, front and top.
            placed: whether the header of the scan says how it lies; if not, no side is marked.
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
        """Return matplotlib's `origin` of an image."""
        return "lower" if self.upright else "upper"

    def extent(self, shape: tuple[int, ...]) -> tuple[float, float, float, float]:
        """Return matplotlib's `extent`, in pixels, of an image that covers slices (H, W)."""
        low, high = -0.5, shape[0] - 0.5
        return (-0.5, shape[1] - 0.5, *((low, high) if self.upright else (high, low)))

    def height(self, shape: tuple[int, ...]) -> float:
        """Return the height of a slice (H, W) by its width, as it is shown."""
        return shape[0] * self.aspect / shape[1]


def views_to_arrays(views: Sequence[SliceView]) -> dict[str, Any]:
    """Return views as arrays of an .npz: `aspect`, `sides`, `upright`, a row per slice."""
    return {
        "aspect": np.array([view.aspect for view in views]),
        "sides": np.array([view.sides for view in views], dtype=str),
        "upright": np.array([view.upright for view in views]),
    }


def views_of_arrays(arrays: Mapping[str, Any], count: int) -> list[SliceView]:
    """Return the views of `count` slices in an .npz; files of earlier versions have no sides."""
    if "sides" in arrays and "aspect" in arrays:
        rows = zip(arrays["aspect"], arrays["sides"], arrays["upright"], strict=True)
        return [SliceView(float(aspect), str(sides), bool(upright)) for aspect, sides, upright in rows]
    upright = bool(np.all(arrays["upright"])) if "upright" in arrays else True
    return [SliceView(upright=upright)] * count


def mark_sides(axis: Axes, view: SliceView, size: float = 7) -> None:
    """Write the sides that are known inside the edges of a slice."""
    places = (
        *((0.02, 0.5, "left", "center"), (0.98, 0.5, "right", "center")),
        *((0.5, 0.02, "center", "bottom"), (0.5, 0.98, "center", "top")),
    )
    for letter, (x, y, across, along) in zip(view.sides, places, strict=True):
        if letter != "?":
            axis.text(
                x, y, letter, transform=axis.transAxes, ha=across, va=along, fontsize=size, color="#ffd166",
                fontweight="bold", path_effects=[withStroke(linewidth=2, foreground="black")],
            )  # fmt: skip


def foreground(image: NDArray[Any], background: float = 0.0) -> NDArray[np.bool_]:
    """Return what of a slice (H, W) is not background.

    A store keeps the background and a voxel of the mean intensity as the same number: a pixel of it counts
    as background only if it is not enclosed.
    """
    filled: NDArray[np.bool_] = binary_fill_holes(image != background)
    return filled


def _ends(direction: NDArray[np.float64]) -> tuple[str, str]:
    """Return the letters at the start and at the end of an axis."""
    axis = int(np.abs(direction).argmax())
    low, high = LETTERS[axis]
    return (low, high) if direction[axis] > 0 else (high, low)
