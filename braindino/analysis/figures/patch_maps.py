"""Draw maps of patch tokens beside the slices that they belong to."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from braindino.analysis.figures.slice_view import SliceView, foreground, mark_sides
from braindino.analysis.figures.style import STYLE, literal

SLICE_WIDTH = 1.7  # inches
MIN_WIDTH = 5.0  # inches, of the figure
MAX_ROWS = 2  # up to so many slices are drawn in rows, with their maps beside them
MARGIN = 1.2  # inches beside the slices, for names and scales
LETTERS_PER_INCH = 13  # of the title
FRAME_COLOUR = "#ff3b30"


def map_montage(
    slices: NDArray[Any],
    maps: Sequence[tuple[str, NDArray[Any]]],
    shown: NDArray[np.bool_],
    numbers: Sequence[int],
    title: str,
    mark: tuple[int, int, int] | None = None,
    views: Sequence[SliceView] | None = None,
) -> Figure:
    """Draw slices, and below or beside them maps of their patches.

    Args:
        slices: (n, H, W), background 0.
        maps: title and (n, h, w) numbers, with a scale beside the row, or (n, h, w, 3) colours in 0-1.
        shown: (n, h, w), patches to draw; the other ones are black.
        numbers: (n,) of the slices, shown above them.
        title: title of the figure.
        mark: slice (0 to n - 1), patch row and patch column to frame in every row.
        views: (n,) orientation and pixel shape of the slices; by default square pixels and no marked sides.
    """
    n, height, width = slices.shape
    views = [SliceView()] * n if views is None else views
    beside = n <= MAX_ROWS
    across, down = (len(maps) + 1, n) if beside else (n, len(maps) + 1)
    slice_height = SLICE_WIDTH * max(view.height((height, width)) for view in views)
    with mpl.rc_context(STYLE):
        size = (max(SLICE_WIDTH * across + MARGIN, MIN_WIDTH), slice_height * down + 0.8)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(down, across, squeeze=False)
        axes = axes.T if beside else axes  # a row per map, a column per slice
        _draw_slices(axes[0], slices, views)
        for column, number in enumerate(numbers):
            _write_name(axes[0, column], f"slice {number}", beside)
        for row, (name, values) in enumerate(maps, start=1):
            _draw_row(figure, axes[row], values, shown, (height, width), views)
            _write_name(axes[row, 0], literal(name, 40), not beside)
        for axis in axes.flat:
            axis.set_facecolor("black")
            axis.set_xticks([])
            axis.set_yticks([])
        if mark is not None:
            _draw_frame(axes, mark, shown.shape[1:], (height, width))
        lines = textwrap.wrap(literal(title, 400), int(size[0] * LETTERS_PER_INCH))
        figure.suptitle("\n".join(lines), fontsize=9)
    return figure


def _draw_slices(axes: Any, slices: NDArray[Any], views: Sequence[SliceView]) -> None:
    """Draw slices in grey on one intensity scale, with a black background."""
    brain = np.stack([foreground(plane) for plane in slices])
    low, high = np.percentile(slices[brain], (0.5, 99.5)) if brain.any() else (0.0, 1.0)
    grey = np.ma.masked_where(~brain, slices)
    for axis, view, plane in zip(axes, views, grey, strict=True):
        axis.imshow(plane, cmap="gray", vmin=low, vmax=high, origin=view.origin, aspect=view.aspect)
        mark_sides(axis, view)


def _write_name(axis: Axes, name: str, beside: bool) -> None:
    """Write a name left of a picture, or above it."""
    if beside:
        axis.set_ylabel(name, fontsize=8)
    else:
        axis.set_title(name, fontsize=8, fontweight="normal")


def _draw_row(
    figure: Figure,
    axes: Any,
    values: NDArray[Any],
    shown: NDArray[np.bool_],
    size: tuple[int, int],
    views: Sequence[SliceView],
) -> None:
    """Draw one map of every slice, with a colour scale at the end if its values are numbers."""
    numbers = values.ndim == 3
    pictures = np.ma.masked_where(~shown, values) if numbers else values
    scale: dict[str, Any] = {}
    if numbers:
        scale = {"cmap": "viridis", "vmin": values[shown].min(), "vmax": values[shown].max()}
    for axis, view, picture in zip(axes, views, pictures, strict=True):
        image = axis.imshow(
            picture,
            origin=view.origin,
            interpolation="nearest",
            aspect=view.aspect,
            extent=view.extent(size),
            **scale,
        )
    if numbers:
        figure.colorbar(image, ax=list(axes), shrink=0.8, pad=0.01).ax.tick_params(labelsize=7)


def _draw_frame(axes: Any, mark: tuple[int, int, int], grid: tuple[int, ...], size: tuple[int, int]) -> None:
    """Frame a patch of one slice in every row."""
    height, width = size[0] / grid[0], size[1] / grid[1]
    for axis in axes[:, mark[0]]:
        corner = (mark[2] * width - 0.5, mark[1] * height - 0.5)
        axis.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=FRAME_COLOUR, linewidth=1.4))
