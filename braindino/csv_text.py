"""Write CSV and TSV without cells that spreadsheets run as formulas, and read them exactly.

Spreadsheet programs run a cell as a formula that begins with `=`, `+`, `-` or `@` (or a tab, a line break,
or such a sign after spaces), and cells come from file names, headers and tables of unknown origin. An
apostrophe in front makes it text; `restore` removes it. Numbers, also in columns of text, do not change.
"""

import re
from typing import Any

import numpy as np
import pandas as pd

# With their full-width forms, which some spreadsheet programs read alike.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(inf|nan)|[+-]", re.IGNORECASE)
_FIRST = frozenset("'=+-@\t\r\n \v\f\uff1d\uff0b\uff0d\uff20")


def neutralise(value: Any) -> Any:
    """Return a value unchanged, or with an apostrophe in front if it would be a formula."""
    return f"'{value}" if isinstance(value, str) and _is_formula(value) else value


def restore(value: Any) -> Any:
    """Return the value that `neutralise` was called with."""
    marked = isinstance(value, str) and value[:1] == "'" and _is_formula(value[1:])
    return value[1:] if marked else value


def _is_formula(text: str) -> bool:
    """Return whether text begins like a formula, apostrophes in front aside, and is no number."""
    if text[:1] not in _FIRST:
        return False
    bare = text.lstrip("'")
    return _FORMULA.match(bare) is not None and _NUMBER.fullmatch(bare) is None


def csv_text(table: pd.DataFrame, separator: str = ",") -> str:
    """Return a table as CSV with its column names, without its index, and with neutralised text."""
    return neutralise_table(table).to_csv(index=False, lineterminator="\n", sep=separator)


def neutralise_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose text, column names included, is neutralised."""
    return _mapped(table, neutralise)


def restore_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table that `csv_text` wrote, given the table that was read from its CSV."""
    return _mapped(table, restore)


def _objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _mapped(table: pd.DataFrame, change: Any) -> pd.DataFrame:
    changed = table.copy(deep=False)
    for place, kind in enumerate(table.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            column = table.iloc[:, place]
            values = [change(value) for value in column]
            if any(new is not old for new, old in zip(values, column, strict=True)):
                changed.isetitem(place, _objects(values))
    names = [change(name) for name in table.columns]
    if names != list(table.columns):
        changed.columns = pd.Index(names)
    return changed
