"""Pictures of patch maps beside the slices they are of."""

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from braindino.analysis.figures.slices import SliceView, foreground, mark_sides
from braindino.analysis.figures.style import STYLE, literal

CELL = 1.7  # inches, the width of a slice
WIDTH = 5.0  # inches, of the narrowest figure
FEW = 2  # slices
MARGIN = 1.2  # inches beside the slices, for names and scales
LETTERS_PER_INCH = 13  # of the title


def map_montage(
    slices: np.ndarray,
    maps: Sequence[tuple[str, np.ndarray]],
    held: np.ndarray,
    numbers: Sequence[int],
    title: str,
    mark: tuple[int, int, int] | None = None,
    views: Sequence[SliceView] | None = None,
) -> Figure:
    """Draw slices, and below or beside them maps of their patches.

    Args:
        slices: (n, H, W), background 0.
        maps: title and (n, h, w) numbers, with a scale beside the row, or (n, h, w, 3) colours in 0-1.
        held: (n, h, w) bool, patches that count; the others stay black.
        numbers: (n,) of the slices, shown above them.
        title: above all.
        mark: which of the n columns, patch row and column to frame in every row.
        views: (n,) how the slices lie; pixels are drawn square and no side is marked if omitted.
    """
    n, height, width = slices.shape
    views = [SliceView()] * n if views is None else views
    shown = np.stack([foreground(plane) for plane in slices])
    low, high = np.percentile(slices[shown], (0.5, 99.5)) if shown.any() else (0.0, 1.0)
    grey = np.ma.masked_where(~shown, slices)
    flat = n <= FEW  # the maps of a few slices stand beside them, not below
    across, down = (len(maps) + 1, n) if flat else (n, len(maps) + 1)
    tall = CELL * max(view.height((height, width)) for view in views)
    with mpl.rc_context(STYLE):
        size = (max(CELL * across + MARGIN, WIDTH), tall * down + 0.8)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(down, across, squeeze=False)
        axes = axes.T if flat else axes  # a row per map, a column per slice
        for column, view in enumerate(views):
            axes[0, column].imshow(
                grey[column], cmap="gray", vmin=low, vmax=high, origin=view.origin, aspect=view.aspect
            )
            _name(axes[0, column], f"slice {numbers[column]}", beside=flat)
            mark_sides(axes[0, column], view)
        for row, (name, values) in enumerate(maps, start=1):
            _draw_row(figure, axes[row], values, held, (height, width), views)
            _name(axes[row, 0], literal(name, 40), beside=not flat)
        for axis in axes.flat:
            axis.set_facecolor("black")
            axis.set_xticks([])
            axis.set_yticks([])
        if mark is not None:
            _frame(axes, mark, held.shape[1:], (height, width))
        lines = textwrap.wrap(literal(title, 400), int(size[0] * LETTERS_PER_INCH))
        figure.suptitle("\n".join(lines), fontsize=9)
    return figure


def _name(axis: Any, name: str, beside: bool) -> None:
    """Write a name left of a picture, or above it."""
    if beside:
        axis.set_ylabel(name, fontsize=8)
    else:
        axis.set_title(name, fontsize=8, fontweight="normal")


def _draw_row(
    figure: Figure,
    axes: Any,
    values: np.ndarray,
    held: np.ndarray,
    size: tuple[int, int],
    views: Sequence[SliceView],
) -> None:
    """Draw one map of every slice, with a scale at the end where it is of numbers."""
    numbers = values.ndim == 3
    shown = np.ma.masked_where(~held, values) if numbers else values
    scale: dict[str, Any] = {}
    if numbers:
        scale = {"cmap": "viridis", "vmin": values[held].min(), "vmax": values[held].max()}
    for axis, view, picture in zip(axes, views, shown, strict=True):
        image = axis.imshow(
            picture, origin=view.origin, interpolation="nearest", aspect=view.aspect,
            extent=view.extent(size), **scale,
        )  # fmt: skip
    if numbers:
        figure.colorbar(image, ax=list(axes), shrink=0.8, pad=0.01).ax.tick_params(labelsize=7)


def _frame(axes: Any, mark: tuple[int, int, int], grid: tuple[int, ...], size: tuple[int, int]) -> None:
    tall, wide = size[0] / grid[0], size[1] / grid[1]
    for axis in axes[:, mark[0]]:
        corner = (mark[2] * wide - 0.5, mark[1] * tall - 0.5)
        axis.add_patch(Rectangle(corner, wide, tall, fill=False, edgecolor="#ff3b30", linewidth=1.4))
