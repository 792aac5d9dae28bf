"""Define the style that all figures share: sizes, colours, lines and text."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito 2008: distinguishable by colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#8a8f98"
DASHES = ("-", "--", ":", "-.")
INK = "#22262c"
BASELINE_GREYS = ("#4d535c", GREY, INK)
MARKERS = ("s", "^", "D", "v")
PANEL = (3.7, 3.3)  # inches
MAX_VECTOR_POINTS = 3000  # more points than this are drawn into the SVG as one raster image
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b616b",
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "xtick.color": "#5b616b",
    "ytick.color": "#5b616b",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.parse_math": False,  # names from data may contain dollar signs
    "svg.fonttype": "path",  # letters as outlines: the page needs no font
    "svg.hashsalt": "braindino",  # the same figure gives the same bytes
}


@contextmanager
def panels(
    count: int = 1, rows: int = 1, size: tuple[float, float] = PANEL
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Create a figure with axes in a grid, in the shared style and without global state.

    Args:
        count: number of columns.
        rows: number of rows.
        size: width and height of one panel [inches].

    Yields:
        The figure, and its axes row by row.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(size[0] * count, size[1] * rows), layout="constrained")
        yield figure, list(figure.subplots(rows, count, squeeze=False).flat)


def literal(text: Any, max_length: int = 28) -> str:
    """Return text from data in one line, shortened with an ellipsis.

    Args:
        text: converted to a string.
        max_length: number of characters.
    """
    line = " ".join(str(text).split())
    return line if len(line) <= max_length else line[: max_length - 1] + "…"


def colour(index: int) -> str:
    """Return the colour of a series; colours repeat after seven, with different dashes.

    Args:
        index: index of the series.
    """
    return COLOURS[index % len(COLOURS)]


def dashes(index: int) -> str:
    """Return the line style of a series, solid for the first seven.

    Args:
        index: index of the series.
    """
    return DASHES[index // len(COLOURS) % len(DASHES)]


def baseline_style(index: int) -> dict[str, Any]:
    """Return colour, line style and marker of a baseline; neighbours differ in each of them.

    Args:
        index: index of the baseline.
    """
    return {
        "color": BASELINE_GREYS[index % len(BASELINE_GREYS)],
        "linestyle": DASHES[1 + index % (len(DASHES) - 1)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def legend(axes: Axes, **options: Any) -> None:
    """Add a legend, if anything in the axes has a label.

    Args:
        axes: the axes.
        options: passed to `Axes.legend`.
    """
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, **options)


def square(axes: Axes, low: float, high: float, pad: float = 0.0) -> None:
    """Set equal limits and equal scales in both directions.

    Args:
        axes: the axes.
        low: smaller limit.
        high: larger limit.
        pad: distance beyond both limits.
    """
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(low - pad, high + pad)
    axes.set_aspect("equal")


def offsets(count: int, width: float = 0.8) -> Sequence[float]:
    """Return the offsets of series beside each other around a tick.

    Args:
        count: number of series.
        width: width of all together, in units of the axis.
    """
    step = width / max(count, 1)
    return [(index - (count - 1) / 2) * step for index in range(count)]
