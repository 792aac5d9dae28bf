"""Tables as dataset owners publish them: any of several column names, encodings, blanks, delimiters."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from io import StringIO
from pathlib import Path

import pandas as pd

from braindino.datasets.manifest import is_missing
from braindino.errors import BraindinoError

Aliases = Mapping[str, Sequence[str]]


class TableError(BraindinoError):
    """A table that cannot be used; the message names the file, the column and what was found."""


def read_table(path: Path | str, columns: Aliases, optional: Aliases | None = None) -> pd.DataFrame:
    """Read a CSV or TSV as text and rename the columns that are wanted.

    Bytes are UTF-8 (with or without a byte-order mark), else cp1252. The delimiter is a tab, a semicolon or a
    comma, whichever the header has most of. Headers and cells are stripped; column names match without regard
    to case; a cell that means "not known" becomes `""`. Columns that nobody asked for are left out.

    Args:
        path: the file.
        columns: our name -> the names it may have in the file; each must be there.
        optional: likewise, but absent from the result when absent from the file.

    Raises:
        TableError: no such file, no table, or a column is missing (names which were found).
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}).") from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", "replace")
    header = text.partition("\n")[0]
    delimiter = max(",\t;", key=header.count)
    try:
        table = pd.read_csv(StringIO(text), sep=delimiter, dtype=str, keep_default_na=False, index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise TableError(f"{path}: is not a table ({str(error).strip()}).") from error
    return select_columns(table, columns, optional or {}, path)


def select_columns(table: pd.DataFrame, columns: Aliases, optional: Aliases, path: Path) -> pd.DataFrame:
    """The wanted columns of a table of text, under our names, with missing cells as `""`."""
    found = {str(name).strip().lower(): name for name in reversed(table.columns)}
    result = {}
    for ours, names in {**columns, **optional}.items():
        theirs = next((found[name.lower()] for name in names if name.lower() in found), None)
        if theirs is not None:
            cells = table[theirs].map(lambda cell: "" if is_missing(cell) else str(cell).strip())
            result[ours] = cells
        elif ours in columns:
            near = get_close_matches(names[0].lower(), list(found), 1)
            hint = f" Is it {found[near[0]]!r}? Rename it." if near else ""
            raise TableError(
                f"{path}: no column {' or '.join(map(repr, names))}; "
                f"found {', '.join(repr(str(name)) for name in table.columns[:12])}.{hint}"
            )
    return pd.DataFrame(result, index=table.index)
