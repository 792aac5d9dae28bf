"""Labels of a table of one's own: each checked where it stands, classes inferred or held against a list."""

import math
import re
from collections.abc import Sequence
from typing import Literal

import pandas as pd

from braindino.datasets.cells import decimal_commas, fold, is_gap, lookalikes, visible
from braindino.datasets.generic.table import first_bad
from braindino.errors import TableError

ClassName = str | int | float | bool | None  # as YAML gives it
_YAML: dict[bool | None, tuple[str, ...]] = {
    True: ("yes", "true", "on"),
    False: ("no", "false", "off"),
    None: ("null", "~"),
}
Task = Literal["classification", "regression", "survival", "segmentation"]
MOST_CLASSES = 20
_EVENT = {"1": 1, "true": 1, "yes": 1, "dead": 1, "0": 0, "false": 0, "no": 0, "alive": 0}


def as_text(cell: object, classes: Sequence[str] = ()) -> str:
    """Return a label as text, so that 1, 1.0 and "1" are one class; `""` when it is missing.

    A word such as `none` or `NA` means a missing label, unless it is one of `classes`.
    """
    return "" if is_gap(cell, classes) else _plain(cell)


def class_names(cells: pd.Series, classes: Sequence[ClassName], file: object) -> tuple[str, ...]:
    """Return the names of classes as text; what YAML makes of unquoted words is read by the cells.

    YAML 1.1 reads `no` as false and `~` as null. Where the column has exactly one word that is read so, it is
    meant.

    Args:
        cells: the column of the label.
        classes: names as a config has them.
        file: the table, for messages.

    Raises:
        TableError: the column has none or several of these words, or a class is listed twice.
    """
    words = sorted({_plain(cell) for cell in cells})
    names: list[str] = []
    for given in classes:
        if given is None or isinstance(given, bool):
            spelled = [word for word in words if word.lower() in _YAML[given]]
            if len(spelled) != 1:
                raise TableError(
                    f"{file}: classes: YAML reads {', '.join(_YAML[given])} without quotes as {given}, and "
                    f"column {cells.name!r} holds {', '.join(map(repr, spelled)) or 'none of these'}.\n"
                    "Put the words in quotes: classes: ['no', 'yes']."
                )
            names += spelled
        else:
            names.append(_plain(given))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise TableError(f"{file}: classes: {twice!r} is listed twice.")
    return tuple(names)


def class_labels(cells: pd.Series, names: Sequence[str] | None) -> tuple[pd.Series, tuple[str, ...]]:
    """Return classes as text, and all of them in order: as given, else sorted (numbers by their value).

    Args:
        cells: the labels, by their place in a table.
        names: the classes, by `class_names`.

    Raises:
        TableError: a label that is none of the classes, one class only, spellings that look like one class,
            or what looks like a measurement.
    """
    labels = cells.map(_plain)
    if names is not None:
        bad = ~labels.isin(names)
        if bad.any():
            first_bad(cells, bad, f"is none of the classes {', '.join(names)}{_hint(labels[bad], names)}")
        return labels, tuple(names)
    found = sorted(set(labels))
    _refuse_lookalikes(cells, labels)
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


def _hint(labels: pd.Series, names: Sequence[str]) -> str:
    """Return which of the classes the first of some other labels may be."""
    label = str(labels.iloc[0])
    if re.fullmatch(r"0\d+", label):
        return f" (YAML reads {label} as a number: put it in quotes)"
    near = next((name for name in names if fold(name) == fold(label)), None)
    return "" if near is None else f"; is it {near!r}? Write it so in the table"


def _refuse_lookalikes(cells: pd.Series, labels: pd.Series) -> None:
    """Raise TableError for spellings that differ only in case, blanks or characters that do not show."""
    for group in lookalikes(labels):
        named = ", ".join(f"{visible(name)!r} ({int((labels == name).sum())})" for name in group)
        place = cells.index[list(labels).index(group[1])]
        raise TableError(
            f"{place}, column {cells.name!r}: {named} look like one class.\n"
            "Write one spelling in the table, or list them in `classes` if they are different."
        )


def numbers(cells: pd.Series, between: tuple[float, float] | None = None) -> pd.Series:
    """Return labels as float64; commas are decimal where some cell shows that they are (`3,5`, not `3,500`).

    Raises:
        TableError: a cell that is no finite number, or lies outside of `between`.
    """
    texts = cells.astype(str)
    commas = decimal_commas(texts)
    values = (texts.str.replace(",", ".") if commas else texts).map(_number)
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


def _plain(cell: object) -> str:
    """Return a cell as stripped text, a whole number without its decimals."""
    text = str(cell).strip()
    return str(int(float(text))) if re.fullmatch(r"-?\d+\.0*", text) else text


def _number(cell: object) -> float | None:
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
