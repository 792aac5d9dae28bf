"""Labels of a user's table: check each cell, infer classes or compare them with a list."""

import math
import re
from collections.abc import Sequence
from typing import Literal

import pandas as pd

from braindino.datasets.cells import decimal_commas, fold, is_gap, lookalikes, visible
from braindino.datasets.generic.table import refuse_cells
from braindino.errors import TableError

ClassName = str | int | float | bool | None  # as YAML is parsed
_YAML: dict[bool | None, tuple[str, ...]] = {
    True: ("yes", "true", "on"),
    False: ("no", "false", "off"),
    None: ("null", "~"),
}
Task = Literal["classification", "regression", "survival", "segmentation"]
MAX_CLASSES = 20
_EVENT = {"1": 1, "true": 1, "yes": 1, "dead": 1, "0": 0, "false": 0, "no": 0, "alive": 0}


def as_text(cell: object, classes: Sequence[str] = ()) -> str:
    """Return a label as text, so that 1, 1.0 and "1" are one class; `""` when it is missing.

    A word such as `none` or `NA` means a missing label, unless it is one of `classes`.
    """
    return "" if is_gap(cell, classes) else _plain(cell)


def class_names(cells: pd.Series, classes: Sequence[ClassName], file: object) -> tuple[str, ...]:
    """Return the names of classes as text, and undo YAML's conversion of unquoted words.

    YAML 1.1 reads `no` as false and `~` as null. Such a value is replaced by the column's word that YAML
    reads as this value, if there is exactly one.

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
    """Return labels as text, and the classes in order: as given, else sorted (numbers by value).

    Args:
        cells: the labels, indexed by `<file>, line <n>`.
        names: the classes, by `class_names`; None to infer them.

    Raises:
        TableError: a label is none of the classes, there is only one class, spellings look like one class, or
            there are too many different labels.
    """
    labels = cells.map(_plain)
    if names is not None:
        bad = ~labels.isin(names)
        if bad.any():
            refuse_cells(cells, bad, f"is none of the classes {', '.join(names)}{_hint(labels[bad], names)}")
        return labels, tuple(names)
    classes = sorted(set(labels))
    _refuse_lookalikes(cells, labels)
    numeric = all(_number(name) is not None for name in classes)
    if len(classes) > MAX_CLASSES:
        remedy = "For a number give `task: regression`." if numeric else "Is it the right column?"
        raise TableError(
            f"column {cells.name!r} holds {len(classes)} different labels; more than {MAX_CLASSES} classes "
            f"must be listed in `classes`.\n{remedy}"
        )
    if len(classes) < 2:
        raise TableError(
            f"column {cells.name!r} holds one class only, {classes[0]!r}; a classification needs two."
        )
    return labels, tuple(sorted(classes, key=float) if numeric else classes)


def _hint(labels: pd.Series, names: Sequence[str]) -> str:
    """Return a hint, for the first of some labels that are no class, which class may be meant."""
    label = str(labels.iloc[0])
    if re.fullmatch(r"0\d+", label):
        return f" (YAML reads {label} as a number: put it in quotes)"
    near = next((name for name in names if fold(name) == fold(label)), None)
    return "" if near is None else f"; is it {near!r}? Correct the table"


def _refuse_lookalikes(cells: pd.Series, labels: pd.Series) -> None:
    """Raise TableError for labels that differ only in case, blanks or invisible characters."""
    for group in lookalikes(labels):
        named = ", ".join(f"{visible(name)!r} ({int((labels == name).sum())})" for name in group)
        place = cells.index[list(labels).index(group[1])]
        raise TableError(
            f"{place}, column {cells.name!r}: {named} look like one class.\n"
            "Write one spelling in the table, or list them in `classes` if they are different."
        )


def numbers(cells: pd.Series, between: tuple[float, float] | None = None) -> pd.Series:
    """Return labels as float64; commas are decimal if some cell shows it (`3,5`, not `3,500`).

    Raises:
        TableError: a cell is no finite number, or is outside of `between`.
    """
    texts = cells.astype(str)
    commas = decimal_commas(texts)
    values = (texts.str.replace(",", ".") if commas else texts).map(_number)
    hint = "must be a number (with a decimal point)" if cells.astype(str).str.contains(",").any() else ""
    refuse_cells(cells, values.isna(), hint or "must be a number")
    if between is not None:
        low, high = between
        refuse_cells(cells, ~values.between(low, high), f"is outside of {low:g} to {high:g}")
    return values.astype(float)


def times(cells: pd.Series, between: tuple[float, float] | None = None) -> pd.Series:
    """Return times to an event or to the end of observation as float64; see `numbers`.

    Raises:
        TableError: also for a time below 0.
    """
    values = numbers(cells, between)
    refuse_cells(cells, values < 0, "is a time below 0")
    return values


def events(cells: pd.Series) -> pd.Series:
    """Return 1 where the event was observed, 0 where the observation ended before.

    Raises:
        TableError: a cell is neither.
    """
    values = cells.map(lambda cell: _EVENT.get(as_text(cell).lower()))
    refuse_cells(cells, values.isna(), "must be 1 (the event was observed) or 0 (censored)")
    return values.astype(int)


def _plain(cell: object) -> str:
    """Return a cell as stripped text, a whole number without its decimals."""
    text = str(cell).strip()
    return str(int(float(text))) if re.fullmatch(r"-?\d+\.0*", text) else text


def _number(cell: object) -> float | None:
    """Return a cell as a finite number, or None."""
    try:
        value = float(str(cell))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
