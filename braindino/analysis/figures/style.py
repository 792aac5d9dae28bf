"""What all figures share: size, colours, text from data in one line, and the way into a page as a string."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito 2008: told apart by the colour-blind, too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#8a8f98"
DASHES = ("-", "--", ":", "-.")
BASELINE_GREYS = ("#4d535c", "#8a8f98", "#22262c")
MARKERS = ("s", "^", "D", "v")
PANEL = (3.7, 3.3)  # inches
POINTS = 3000  # above it points are drawn into the SVG as one picture
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#5b616b",
    "axes.labelcolor": "#22262c",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "xtick.color": "#5b616b",
    "ytick.color": "#5b616b",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "svg.fonttype": "path",  # letters as outlines: the page needs no font
    "svg.hashsalt": "braindino",  # the same figure is the same text
}


@contextmanager
def panels(
    count: int = 1, rows: int = 1, size: tuple[float, float] = PANEL
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure with `rows` rows of `count` axes in the house style, drawn by Agg; no state outside it."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(size[0] * count, size[1] * rows), layout="constrained")
        yield figure, list(figure.subplots(rows, count, squeeze=False).flat)


def svg(figure: Figure) -> str:
    """The figure as the source of an <img>: an SVG within the page, where nothing in it can run or load."""
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def is_png(content: bytes) -> bool:
    """Return whether these are the bytes of a PNG: its signature, and Pillow can check every chunk."""
    from PIL import Image

    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return False
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            image.verify()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False
    return True


def png(content: bytes) -> str:
    """The bytes of a PNG as the source of an <img>."""
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")


def literal(text: Any, longest: int = 28) -> str:
    """Text from data in one line, cut where it is too long."""
    words = " ".join(str(text).split())
    return words if len(words) <= longest else words[: longest - 1] + "…"


def colour(index: int) -> str:
    """Return the colour of a series; they repeat after seven, with other dashes."""
    return COLOURS[index % len(COLOURS)]


def dashes(index: int) -> str:
    """Return the line style of a series: solid for the first seven."""
    return DASHES[index // len(COLOURS) % len(DASHES)]


def baseline_style(index: int) -> dict[str, Any]:
    """Return colour, dashes and marker of a baseline: no two alike, by the dashes alone and by the marker."""
    return {
        "color": BASELINE_GREYS[index % len(BASELINE_GREYS)],
        "linestyle": DASHES[1 + index % (len(DASHES) - 1)],
        "marker": MARKERS[index % len(MARKERS)],
    }


def legend(axes: Axes, **options: Any) -> None:
    """A legend, if anything in the axes has a label."""
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, **options)


def square(axes: Axes, low: float, high: float, pad: float = 0.0) -> None:
    """Equal limits and equal scales in both directions."""
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(low - pad, high + pad)
    axes.set_aspect("equal")


def spread(count: int, width: float = 0.8) -> Sequence[float]:
    """Offsets of `count` series beside each other around a tick."""
    step = width / max(count, 1)
    return [(index - (count - 1) / 2) * step for index in range(count)]
