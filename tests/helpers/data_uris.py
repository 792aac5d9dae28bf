"""Decode the pictures inside a page."""

import base64


def decode_svg(source: str) -> str:
    """Return the text of an SVG.

    Args:
        source: a data URI.
    """
    return base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()
