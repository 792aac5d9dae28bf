"""Format numbers and tables as text, the same for the terminal, reports and LaTeX."""

from collections.abc import Mapping, Sequence
from typing import Any

Numbers = Mapping[str, Any]
UNDEFINED = "undefined"


def format_number(value: float | None) -> str:
    """Return a number with three decimals below 10 and two above; "undefined" for None and NaN.

    Args:
        value: the number.
    """
    if value is None or value != value:
        return UNDEFINED
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


def format_interval(numbers: Numbers) -> str:
    """Return `value [low, high]`, without the interval where it is undefined.

    Args:
        numbers: `value`, `low` and `high`, each a number, NaN or None.
    """
    return _interval(*(format_number(numbers[name]) for name in ("value", "low", "high")))


def format_difference(numbers: Numbers) -> str:
    """Return `+0.012 [+0.003, +0.021]`, as `format_interval` does, each number with its sign.

    Args:
        numbers: `value`, `low` and `high`, each a number, NaN or None.
    """
    texts = (format_number(numbers[name]) for name in ("value", "low", "high"))
    return _interval(*(f"+{text}" if text[0].isdigit() else text for text in texts))


def _interval(value: str, low: str, high: str) -> str:
    return value if low == UNDEFINED else f"{value} [{low}, {high}]"


def format_p_value(p: float | None) -> str:
    """Return a p value with three decimals, `<0.001` below that, and nothing for None and NaN.

    Args:
        p: the p value.
    """
    if p is None or p != p:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def align_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line of text per row, with columns aligned and two spaces apart.

    Args:
        rows: rows of cells, all with the same number of columns.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
