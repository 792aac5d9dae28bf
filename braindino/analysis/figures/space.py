"""Pictures of a feature space: points coloured by a column, and the likeness of encoders as a table."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from braindino.analysis.figures.style import GREY, colour, legend, literal, panels

MOST_CLASSES = 20  # more than this in a legend nobody tells apart


def space_figure(points: np.ndarray, column: "pd.Series | None", title: str, axis: str) -> Figure:
    """Points (N, 2), coloured by a column: numbers by a scale, up to 20 other values by a legend.

    Blank cells are grey. axis: what the axes are, such as `t-SNE`.

    Raises:
        ValueError: more than 20 different words.
    """
    with panels(size=(5.2, 4.4)) as (figure, (axes,)):
        size = float(np.clip(3000 / len(points), 4, 30))
        if column is None:
            axes.scatter(points[:, 0], points[:, 1], s=size, color=colour(0), linewidths=0)
        else:
            text = column.map(str).str.strip()
            blank = (text.isin(("", "nan", "None", "<NA>"))).to_numpy()
            numbers = pd.to_numeric(column, errors="coerce")
            axes.scatter(
                points[blank, 0],
                points[blank, 1],
                s=size,
                color=GREY,
                linewidths=0,
                label="unknown" if blank.any() else None,
            )
            if numbers[~blank].notna().all() and numbers[~blank].nunique() > 10:
                shown = axes.scatter(
                    points[~blank, 0],
                    points[~blank, 1],
                    s=size,
                    c=numbers[~blank],
                    cmap="viridis",
                    linewidths=0,
                )
                figure.colorbar(shown, ax=axes, shrink=0.8).set_label(literal(column.name))
            else:
                names = sorted(set(text[~blank]))
                if len(names) > MOST_CLASSES:
                    raise ValueError(
                        f"column {column.name!r} has {len(names)} different values; 20 can be told apart"
                    )
                marks = "o^sDvP*"
                for i, name in enumerate(names):
                    chosen = (text == name).to_numpy() & ~blank
                    x, y = points[chosen].T
                    told = f"{literal(name)} ({int(chosen.sum())})"
                    axes.scatter(x, y, size, colour(i), marker=marks[i // 7], linewidths=0, label=told)
                legend(
                    axes,
                    title=literal(column.name),
                    loc="center left",
                    bbox_to_anchor=(1, 0.5),
                    markerscale=1.5,
                )
        axes.set_xlabel(f"{axis} 1")
        axes.set_ylabel(f"{axis} 2")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(literal(title, 60))
    return figure


def cka_figure(values: np.ndarray, names: Sequence[str], items: int) -> Figure:
    """A square table (n, n) of linear CKA between encoders, as colours with their numbers."""
    side = 1.6 + 0.75 * len(names)
    with panels(size=(side + 0.6, side)) as (figure, (axes,)):
        shown = axes.imshow(values, vmin=0, vmax=1, cmap="viridis")
        for i, row in enumerate(values):
            for j, value in enumerate(row):
                axes.text(
                    j, i, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.6 else "black"
                )
        ticks = [literal(name, 24) for name in names]
        axes.set_xticks(range(len(names)), ticks, rotation=30, ha="right")
        axes.set_yticks(range(len(names)), ticks)
        axes.set_title(f"linear CKA, {items} items")
        figure.colorbar(shown, ax=axes, shrink=0.7)
    return figure
