"""Labels of a table of one's own: each checked where it stands, classes inferred or held against a list."""

import math
import re
from collections.abc import Sequence
from typing import Literal

import pandas as pd

from braindino.datasets.manifest import is_missing
from braindino.datasets.own_tables import first_bad
from braindino.datasets.tables import TableError

Task = Literal["classification", "regression", "survival", "segmentation"]
MOST_CLASSES = 20
_EVENT = {"1": 1, "true": 1, "yes": 1, "dead": 1, "0": 0, "false": 0, "no": 0, "alive": 0}


def as_text(cell: object) -> str:
    """A label as text, so that 1, 1.0 and "1" are one class; `""` when it is missing."""
    if is_missing(cell):
        return ""
    text = str(cell).strip()
    return str(int(float(text))) if re.fullmatch(r"-?\d+\.0*", text) else text


def class_labels(cells: pd.Series, classes: Sequence[str | int] | None) -> tuple[pd.Series, tuple[str, ...]]:
    """Classes as text, and all of them in order: as given, else sorted (numbers by their value).

    Raises:
        TableError: a label that is none of the classes, one class only, or what looks like a measurement.
    """
    labels = cells.map(as_text)
    if classes is not None:
        names = tuple(map(as_text, classes))
        first_bad(cells, ~labels.isin(names), f"is none of the classes {', '.join(names)}")
        return labels, names
    found = sorted(set(labels))
    numeric = all(_number(name) is not None for name in found)
    if len(found) > MOST_CLASSES:
        remedy = "For a number give `task: regression`." if numeric else "Is it the right column?"
        raise TableError(
            f"column {cells.name!r} holds {len(found)} different labels; more than {MOST_CLASSES} classes "
            f"must be listed in `classes`.\n{remedy}"
        )
    if len(found) < 2:
        raise TableError(
            f"column {cells.name!r} holds one class only, {found[0]!r}; there is nothing to tell apart."
        )
    return labels, tuple(sorted(found, key=float) if numeric else found)


def numbers(cells: pd.Series, between: tuple[float, float] | None = None) -> pd.Series:
    """Labels as float64.

    Raises:
        TableError: a cell that is no finite number, or lies outside of `between`.
    """
    values = cells.map(_number)
    hint = "must be a number (with a decimal point)" if cells.astype(str).str.contains(",").any() else ""
    first_bad(cells, values.isna(), hint or "must be a number")
    if between is not None:
        low, high = between
        first_bad(cells, ~values.between(low, high), f"lies outside of {low:g} to {high:g}")
    return values.astype(float)


def times(cells: pd.Series, between: tuple[float, float] | None = None) -> pd.Series:
    """Times to an event or to the end of observation, float64, none below 0. Raises TableError."""
    values = numbers(cells, between)
    first_bad(cells, values < 0, "is a time below 0")
    return values


def events(cells: pd.Series) -> pd.Series:
    """1 where the event was seen, 0 where observation ended before. Raises TableError."""
    values = cells.map(lambda cell: _EVENT.get(as_text(cell).lower()))
    first_bad(cells, values.isna(), "must be 1 (the event was seen) or 0 (censored)")
    return values.astype(int)


def _number(cell: object) -> float | None:
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
