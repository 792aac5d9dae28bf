"""Read published tables: column aliases, encodings, missing values, delimiters, Excel."""

import codecs
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar
from zipfile import BadZipFile

import pandas as pd

from braindino.csv_text import restore_table
from braindino.datasets.cells import is_missing, same_characters
from braindino.errors import TableError
from braindino.files import describe_special_file

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SUFFIXES = (".csv", ".tsv", ".xlsx", ".xls")
_T = TypeVar("_T")
_IDS = ("id", "subject", "case", "group", "path")  # result columns in which a word such as NA is an id
Aliases = Mapping[str, Sequence[str]]


def read_table(path: Path | str, columns: Aliases, optional: Aliases | None = None) -> pd.DataFrame:
    """Read the given columns of a CSV, TSV or Excel table as text, under standard names.

    See `decode_table` for encodings. The delimiter is the tab, semicolon or comma that the header has most
    of. Headers and cells are stripped; column names match in any case; a missing value becomes `""`, except
    in columns of ids, because a person may be called NA. Other columns are not returned.

    Args:
        path: the file.
        columns: standard name -> names that the column may have in the file; each column is required.
        optional: likewise, but absent from the result when absent from the file.

    Raises:
        TableError: no such file, no table, or a column is missing; the message lists the columns.
    """
    path = Path(path)
    table = _read(path)
    return select_columns(table, columns, optional or {}, path)


def find_tables(
    root: Path, patterns: Sequence[str], columns: Aliases, optional: Aliases | None = None
) -> list[pd.DataFrame]:
    """Read every table whose name matches a pattern, in `root` or one level below.

    Args:
        root: the folder.
        patterns: file names with `*`.
        columns: see `read_table`.
        optional: see `read_table`.

    Raises:
        TableError: there is no such table, or one lacks a column.
    """
    matches = {path for pattern in patterns for path in [*root.glob(pattern), *root.glob(f"*/{pattern}")]}
    paths = sorted(path for path in matches if path.suffix.lower() in _SUFFIXES and path.is_file())
    if not paths:
        needed = ", ".join(names[0] for names in columns.values())
        raise TableError(
            f"{root}: no table {' or '.join(patterns)} ({', '.join(_SUFFIXES)}) there or one level below.\n"
            f"Put it beside the scans; it has the columns {needed}."
        )
    return [read_table(path, columns, optional) for path in paths]


def read_cells(path: Path) -> pd.DataFrame:
    """Read a whole table as stripped text, under its own column names.

    Raises:
        TableError: the file cannot be read as a table.
    """
    table = _read(path)
    table.columns = pd.Index([same_characters(str(name)) for name in table.columns])
    return table.map(lambda cell: str(cell).strip())


def table_columns(path: Path) -> list[str]:
    """Return the stripped names of the columns of a table.

    Raises:
        TableError: the file cannot be read as a table.
    """
    return [same_characters(str(name)) for name in _read(path).columns]


def decode_table(path: Path) -> str:
    """Return the text of a table in UTF-8, UTF-16, UTF-32 or cp1252.

    The encoding follows the byte-order mark; without one, zero bytes mean UTF-16, else UTF-8 is tried before
    cp1252.

    Raises:
        TableError: the file cannot be read, or is not text.
    """
    if special := describe_special_file(path):
        raise TableError(f"{path}: {special}; expected a table.")
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror}).") from error
    encoding = _encoding(raw)
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8-sig":
            raise TableError(
                f"{path}: its first bytes mark it as {encoding.upper()}, but it is not ({error.reason}).\n"
                "Save it as CSV in UTF-8."
            ) from error
        text = raw.decode("cp1252", "replace")
    if "\0" in text:
        raise TableError(f"{path}: is not a text table (it has zero bytes). Save it as CSV in UTF-8.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _encoding(raw: bytes) -> str:
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return encoding
    start = raw[:1000]
    # Latin letters have a zero byte in UTF-16.
    even, odd = start[::2].count(0), start[1::2].count(0)
    if max(even, odd) > len(start) // 3 and not min(even, odd):
        return "utf-16-le" if odd else "utf-16-be"
    return "utf-8-sig"


def delimiter_of(header: str) -> str:
    """Return the delimiter that a header has most of: tab, semicolon or comma."""
    return max("\t;,", key=header.count)


def _read(path: Path) -> pd.DataFrame:
    return read_excel(path) if path.suffix.lower() in (".xls", ".xlsx") else _read_text(path)


def _read_text(path: Path) -> pd.DataFrame:
    text = decode_table(path)
    delimiter = delimiter_of(text.lstrip("\n").partition("\n")[0])
    try:
        table = pd.read_csv(StringIO(text), sep=delimiter, dtype=str, keep_default_na=False, index_col=False)
        return restore_table(table)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise TableError(f"{path}: is not a table ({str(error).strip()}).") from error


def read_excel(path: Path, sheet: str | int = 0) -> pd.DataFrame:
    """Read a sheet of an Excel file, every cell as text.

    Args:
        path: the file.
        sheet: name, or number from 0.

    Raises:
        TableError: no Excel file, or no such sheet; the message lists the sheets.
    """
    names = excel_sheets(path)
    if isinstance(sheet, str) and sheet not in names:
        near = get_close_matches(sheet.lower(), [name.lower() for name in names], 1, 0.6)
        hint = f" Did you mean {names[[n.lower() for n in names].index(near[0])]!r}?" if near else ""
        raise TableError(f"{path}: no sheet {sheet!r}.{hint} There are {', '.join(map(repr, names))}.")
    if special := describe_special_file(path):
        raise TableError(f"{path}: {special}; expected a table.")
    if path.suffix.lower() == ".xls":
        return _read_xls(path, names.index(sheet) if isinstance(sheet, str) else sheet)
    try:
        return pd.read_excel(path, sheet_name=sheet, dtype=str, keep_default_na=False)
    except (OSError, ValueError, BadZipFile) as error:
        raise TableError(f"{path}: is not an Excel table ({str(error).strip()}).") from error


def excel_sheets(path: Path) -> list[str]:
    """Return the names of the sheets of an Excel file.

    Raises:
        TableError: no Excel file.
    """
    if path.suffix.lower() == ".xls":
        return _xls(path, lambda book: list(map(str, book.sheet_names())))
    try:
        with pd.ExcelFile(path) as book:
            return [str(name) for name in book.sheet_names]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise TableError(f"{path}: is not an Excel table ({str(error).strip()}).") from error


def _read_xls(path: Path, sheet: int) -> pd.DataFrame:
    def cells(book: Any) -> list[list[str]]:
        page = book.sheet_by_index(sheet)
        return [[_text(cell) for cell in page.row_values(i)] for i in range(page.nrows)]

    rows = _xls(path, cells)
    if not rows:
        raise TableError(f"{path}: is an empty table.")
    return pd.DataFrame(rows[1:], columns=rows[0], dtype=object)


def _xls(path: Path, read: Callable[[Any], _T]) -> _T:
    """Read with xlrd itself, because pandas 3 is about to drop it."""
    import xlrd

    try:
        with xlrd.open_workbook(path, logfile=StringIO()) as book:
            return read(book)
    # xlrd raises many kinds of errors (struct, index, its own) on damaged files.
    except Exception as error:
        raise TableError(f"{path}: is not an Excel table ({str(error).strip()}).") from error


def _text(cell: object) -> str:
    """Return a cell as Excel shows it: Excel has no integers, so 3.0 is 3."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def select_columns(table: pd.DataFrame, columns: Aliases, optional: Aliases, path: Path) -> pd.DataFrame:
    """Return columns of a table of text under standard names, with missing cells as `""`.

    Args:
        table: a table of text cells.
        columns: see `read_table`.
        optional: see `read_table`.
        path: the table's file, for messages.

    Raises:
        TableError: a column is missing.
    """
    by_name = {same_characters(str(name)).lower(): name for name in reversed(table.columns)}
    result = {}
    for standard, names in {**columns, **optional}.items():
        column = next((by_name[name.lower()] for name in names if name.lower() in by_name), None)
        if column is not None:
            cells = table[column].map(lambda cell: str(cell).strip())
            result[standard] = cells if standard in _IDS else cells.where(~cells.map(is_missing), "")
        elif standard in columns:
            near = get_close_matches(names[0].lower(), list(by_name), 1)
            hint = f" Is it {by_name[near[0]]!r}? Rename it." if near else ""
            raise TableError(
                f"{path}: no column {' or '.join(map(repr, names))}; "
                f"found {', '.join(repr(str(name)) for name in table.columns[:12])}.{hint}"
            )
    return pd.DataFrame(result, index=table.index)
