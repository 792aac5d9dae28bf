"""Tables as dataset owners publish them: any of several column names, encodings, blanks, delimiters."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from zipfile import BadZipFile

import pandas as pd

from braindino.datasets.manifest import is_missing
from braindino.errors import BraindinoError

_SUFFIXES = (".csv", ".tsv", ".xlsx", ".xls")
Aliases = Mapping[str, Sequence[str]]


class TableError(BraindinoError):
    """A table that cannot be used; the message names the file, the column and what was found."""


def read_table(path: Path | str, columns: Aliases, optional: Aliases | None = None) -> pd.DataFrame:
    """Read a CSV, TSV or Excel table as text and rename the columns that are wanted.

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
    table = read_excel(path) if path.suffix.lower() in (".xls", ".xlsx") else _read_text(path)
    return select_columns(table, columns, optional or {}, path)


def find_tables(
    root: Path, patterns: Sequence[str], columns: Aliases, optional: Aliases | None = None
) -> list[pd.DataFrame]:
    """Read every table whose name matches one of `patterns` (with `*`), in `root` or one level below.

    Raises:
        TableError: there is none (says what was looked for), or one lacks a column.
    """
    found = [path for pattern in patterns for path in [*root.glob(pattern), *root.glob(f"*/{pattern}")]]
    found = sorted(path for path in set(found) if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not found:
        needed = ", ".join(names[0] for names in columns.values())
        raise TableError(
            f"{root}: no table {' or '.join(patterns)} ({', '.join(_SUFFIXES)}) there or one level below.\n"
            f"Put it beside the scans; it has the columns {needed}."
        )
    return [read_table(path, columns, optional) for path in found]


def table_columns(path: Path) -> list[str]:
    """Names of the columns of a table, stripped. Raises TableError when it cannot be read."""
    table = read_excel(path) if path.suffix.lower() in (".xls", ".xlsx") else _read_text(path)
    return [str(name).strip() for name in table.columns]


def decode_table(path: Path) -> str:
    """The text of a table: UTF-8 with or without a byte-order mark, else cp1252."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}).") from error
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def delimiter_of(header: str) -> str:
    """Tab, semicolon or comma, whichever the header has most of."""
    return max(",\t;", key=header.count)


def _read_text(path: Path) -> pd.DataFrame:
    text = decode_table(path)
    delimiter = delimiter_of(text.partition("\n")[0])
    try:
        return pd.read_csv(StringIO(text), sep=delimiter, dtype=str, keep_default_na=False, index_col=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise TableError(f"{path}: is not a table ({str(error).strip()}).") from error


def read_excel(path: Path) -> pd.DataFrame:
    """The first sheet of an Excel file, every cell as text."""
    if path.suffix.lower() == ".xls":
        return _read_xls(path)
    try:
        return pd.read_excel(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError, BadZipFile) as error:
        raise TableError(f"{path}: is not an Excel table ({str(error).strip()}).") from error


def _read_xls(path: Path) -> pd.DataFrame:
    """By xlrd itself: pandas 3 is about to drop it, and what it offers instead is one more dependency."""
    import xlrd

    try:
        with xlrd.open_workbook(path, logfile=StringIO()) as book:
            sheet = book.sheet_by_index(0)
            rows = [[_text(cell) for cell in sheet.row_values(i)] for i in range(sheet.nrows)]
    except Exception as error:  # the library raises all sorts (struct, index, its own) on damaged files
        raise TableError(f"{path}: is not an Excel table ({str(error).strip()}).") from error
    if not rows:
        raise TableError(f"{path}: is an empty table.")
    return pd.DataFrame(rows[1:], columns=rows[0], dtype=object)


def _text(cell: object) -> str:
    """A cell as people see it: Excel knows no whole numbers."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


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
