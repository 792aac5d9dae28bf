"""Draw figures of a pretraining run: patch tokens as colours, and views with their masks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from braindino.analysis.figures.slice_view import SliceView, foreground, mark_sides
from braindino.files import atomic_write

Array = npt.NDArray[np.float32]


def draw_patches(
    path: Path, slices: Array, colours: Array, title: str, views: Sequence[SliceView] | None = None
) -> None:
    """Draw slices above the colours of their patches, as a PNG.

    Args:
        path: path of the file.
        slices: (N, H, W), background 0.
        colours: (N, h, w, 3) in 0-1.
        title: title above all panels.
        views: (N,) orientation of each slice; None draws the arrays as they are.
    """
    views = [SliceView()] * len(slices) if views is None else views
    figure, axes = _panels(2, len(slices), title, max(view.height(slices.shape[1:]) for view in views))
    for i, (image, colour, view) in enumerate(zip(slices, colours, views, strict=True)):
        shown = np.where(foreground(image), image, _low(image))
        axes[0, i].imshow(
            shown, cmap="gray", vmin=_low(image), vmax=_high(image), origin=view.origin, aspect=view.aspect
        )
        axes[1, i].imshow(
            colour,
            interpolation="nearest",
            origin=view.origin,
            aspect=view.aspect,
            extent=view.extent(image.shape),
        )
        mark_sides(axes[0, i], view)
    _save(figure, path)


def draw_views(
    path: Path, rows: list[list[tuple[str, Array]]], title: str, views: Sequence[SliceView] | None = None
) -> None:
    """Draw one row of named images per slice, the whole slice first, as a PNG.

    Sides are marked on the whole slice only: a view may be mirrored.

    Args:
        path: path of the file.
        rows: per slice, names and images, (H, W) grey or (H, W, 3), in 0-1.
        title: title above all panels.
        views: per slice, its orientation; None draws the arrays as they are.
    """
    views = [SliceView()] * len(rows) if views is None else views
    tall = max(view.height(row[0][1].shape) for view, row in zip(views, rows, strict=True))
    figure, axes = _panels(len(rows), max(len(row) for row in rows), title, tall)
    for r, (row, view) in enumerate(zip(rows, views, strict=True)):
        for c, (name, image) in enumerate(row):
            axes[r, c].imshow(
                image,
                cmap="gray",
                vmin=0,
                vmax=1,
                interpolation="nearest",
                origin=view.origin,
                aspect=view.aspect,
            )
            if r == 0:
                axes[r, c].set_title(f"{name}\n{image.shape[0]} px", fontsize=7)
        mark_sides(axes[r, 0], view)
    _save(figure, path)


def grey(image: Array, reference: Array) -> Array:
    """Return an image scaled to 0-1 by the intensity window of another.

    Args:
        image: (H, W).
        reference: (H, W), whose window is used: so changes of intensity stay visible.

    Returns:
        (H, W) in 0-1.
    """
    low, extent = _low(reference), max(_high(reference) - _low(reference), 1e-6)
    scaled: Array = np.clip((image - low) / extent, 0, 1)
    return scaled


def with_mask(image: Array, mask: npt.NDArray[np.bool_]) -> Array:
    """Return an image in colours, its masked patches tinted red.

    Args:
        image: (S, S) grey in 0-1.
        mask: (h, w), true for masked patches.

    Returns:
        (S, S, 3) in 0-1.
    """
    side = image.shape[0] // mask.shape[0]
    large = np.kron(mask, np.ones((side, side), bool))[..., None]
    colour = np.repeat(image[..., None], 3, axis=-1)
    return np.where(large, 0.35 * colour + 0.65 * np.array([0.85, 0.2, 0.15], np.float32), colour)


def window(image: Array) -> Array:
    """Return a z-scored slice scaled to 0-1 with its background black."""
    return np.where(foreground(image), grey(image, image), np.float32(0))


def _low(image: Array) -> float:
    return float(np.percentile(image, 0.5))


def _high(image: Array) -> float:
    return float(np.percentile(image, 99.5))


def _panels(rows: int, columns: int, title: str, tall: float = 1.0) -> tuple[Any, Any]:
    """Return a figure and its axes, `tall` times as high as they are wide."""
    # A separate Figure draws by Agg into a file: no window system, and no state shared with a notebook.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(1.5 * columns, 5.0), 1.5 * tall * rows + 0.7), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle(title, fontsize=9)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", dpi=120)
