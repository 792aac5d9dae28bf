"""Draw a feature space as coloured points, and the similarity of encoders as a matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from braindino.analysis.figures.style import COLOURS, GREY, colour, legend, literal, panels

MAX_CLASSES = 20  # more than this cannot be distinguished in a legend
MIN_SCALE_VALUES = 10  # a column with more different numbers than this is shown by a colour scale
BLANK = ("", "nan", "None", "<NA>")
# One per round of the colours.
CLASS_MARKERS = "o^sDvP*"


def space_figure(points: NDArray[Any], column: "pd.Series[Any] | None", title: str, axis: str) -> Figure:
    """Draw points, coloured by a column of numbers or of up to 20 other values.

    Numbers have a colour scale, other values a legend; blank cells are grey.

    Args:
        points: (N, 2) coordinates.
        column: (N,) values; None for one colour.
        title: title above the points.
        axis: name of the axes, such as `t-SNE`.

    Raises:
        ValueError: the column has more than 20 different values that are not numbers.
    """
    with panels(size=(5.2, 4.4)) as (figure, (axes,)):
        size = float(np.clip(3000 / len(points), 4, 30))
        if column is None:
            axes.scatter(points[:, 0], points[:, 1], s=size, color=colour(0), linewidths=0)
        else:
            _draw_column(figure, axes, points, column, size)
        axes.set_xlabel(f"{axis} 1")
        axes.set_ylabel(f"{axis} 2")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(literal(title, 60))
    return figure


def _draw_column(
    figure: Figure, axes: Axes, points: NDArray[Any], column: "pd.Series[Any]", size: float
) -> None:
    """Draw blank cells in grey, numbers by a colour scale, and other values with a legend."""
    text = column.map(str).str.strip()
    blank = text.isin(BLANK).to_numpy()
    numbers = pd.to_numeric(column, errors="coerce")
    label = "unknown" if blank.any() else None
    axes.scatter(points[blank, 0], points[blank, 1], s=size, color=GREY, linewidths=0, label=label)
    if numbers[~blank].notna().all() and numbers[~blank].nunique() > MIN_SCALE_VALUES:
        x, y = points[~blank].T
        image = axes.scatter(x, y, s=size, c=numbers[~blank], cmap="viridis", linewidths=0)
        figure.colorbar(image, ax=axes, shrink=0.8).set_label(literal(column.name))
        return
    names = sorted(set(text[~blank]))
    if len(names) > MAX_CLASSES:
        raise ValueError(
            f"column {column.name!r} has {len(names)} different values; at most {MAX_CLASSES} can be shown"
        )
    for index, name in enumerate(names):
        chosen = (text == name).to_numpy() & ~blank
        x, y = points[chosen].T
        label = f"{literal(name)} ({int(chosen.sum())})"
        marker = CLASS_MARKERS[index // len(COLOURS)]
        axes.scatter(x, y, size, colour(index), marker=marker, linewidths=0, label=label)
    legend(axes, title=literal(column.name), loc="center left", bbox_to_anchor=(1, 0.5), markerscale=1.5)


def cka_figure(values: NDArray[np.float64], names: Sequence[str], items: int) -> Figure:
    """Draw a matrix of linear CKA between encoders as colours and numbers.

    Args:
        values: (n, n) CKA.
        names: (n,) of the encoders.
        items: number of items that the CKA was computed over.
    """
    side = 1.6 + 0.75 * len(names)
    with panels(size=(side + 0.6, side)) as (figure, (axes,)):
        image = axes.imshow(values, vmin=0, vmax=1, cmap="viridis")
        for (row, column), value in np.ndenumerate(values):
            color = "white" if value < 0.6 else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=color)
        ticks = [literal(name, 24) for name in names]
        axes.set_xticks(range(len(names)), ticks, rotation=30, ha="right")
        axes.set_yticks(range(len(names)), ticks)
        axes.set_title(f"linear CKA, {items} items")
        figure.colorbar(image, ax=axes, shrink=0.7)
    return figure
