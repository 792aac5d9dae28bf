"""Numbers and tables as text, the same in the terminal, in reports and in LaTeX."""

from collections.abc import Mapping, Sequence
from typing import Any

Numbers = Mapping[str, Any]
UNDEFINED = "undefined"


def number(value: float | None) -> str:
    """Three decimals below 10, two above."""
    if value is None or value != value:
        return UNDEFINED
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}"


def interval(numbers: Numbers) -> str:
    """`value [low, high]`, as much of it as is defined."""
    if numbers["low"] is None or numbers["low"] != numbers["low"]:
        return number(numbers["value"])
    return f"{number(numbers['value'])} [{number(numbers['low'])}, {number(numbers['high'])}]"


def p_value(p: float | None) -> str:
    """Three decimals, `<0.001` below that, nothing where there is none."""
    if p is None or p != p:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells in columns, two spaces apart."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
