"""Encode figures and pictures as data URIs, so that a page loads nothing."""

import base64
import io

import matplotlib as mpl
from matplotlib.figure import Figure

from braindino.analysis.figures.style import STYLE


def svg(figure: Figure) -> str:
    """Return a figure as an SVG data URI, in which no script runs and nothing is loaded.

    Args:
        figure: drawn with `panels`.
    """
    buffer = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def is_png(content: bytes) -> bool:
    """Return whether these bytes are a PNG: its signature, and chunks that Pillow verifies.

    Args:
        content: content of a file.
    """
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
    """Return a PNG as a data URI for an <img>.

    Args:
        content: content of a PNG file.
    """
    return "data:image/png;base64," + base64.b64encode(content).decode("ascii")
