"""Tables as dataset owners publish them: any of several column names, encodings, blanks, delimiters."""

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
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_SUFFIXES = (".csv", ".tsv", ".xlsx", ".xls")
_T = TypeVar("_T")
_IDS = ("id", "subject", "case", "group", "path")  # our names of columns in which no word is a gap
Aliases = Mapping[str, Sequence[str]]


def read_table(path: Path | str, columns: Aliases, optional: Aliases | None = None) -> pd.DataFrame:
    """Read a CSV, TSV or Excel table as text and rename the columns that are wanted.

    See `decode_table` for encodings. The delimiter is a tab, a semicolon or a comma, whichever the header has
    most of. Headers and cells are stripped; column names match without regard to case; a cell that means "not
    known" becomes `""`, but for ids: a person may be called NA. Further columns are left out.

    Args:
        path: the file.
        columns: our name -> the names it may have in the file; each must be there.
        optional: likewise, but absent from the result when absent from the file.

    Raises:
        TableError: no such file, no table, or a column is missing (names which were found).
    """
    path = Path(path)
    table = _read(path)
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


def read_cells(path: Path) -> pd.DataFrame:
    """Read a whole table as stripped text, under its own column names. Raises TableError."""
    table = _read(path)
    table.columns = pd.Index([same_characters(str(name)) for name in table.columns])
    return table.map(lambda cell: str(cell).strip())


def table_columns(path: Path) -> list[str]:
    """Return the names of the columns of a table, stripped. Raises TableError when it cannot be read."""
    return [same_characters(str(name)) for name in _read(path).columns]


def decode_table(path: Path) -> str:
    """Return the text of a table: UTF-8, UTF-16 or UTF-32 by the byte-order mark, UTF-8 without, else cp1252.

    UTF-16 without a mark is known by its zero bytes. Raises TableError for what is no text.
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
                f"{path}: is not text in {encoding.upper()}, as its first bytes say ({error.reason}).\n"
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
    even, odd = start[::2].count(0), start[1::2].count(0)  # Latin letters have a zero byte in UTF-16
    if max(even, odd) > len(start) // 3 and not min(even, odd):
        return "utf-16-le" if odd else "utf-16-be"
    return "utf-8-sig"


def delimiter_of(header: str) -> str:
    """Return the tab, semicolon or comma, whichever the header has most of."""
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
    """Read a sheet of an Excel file, by its name or number, every cell as text.

    Raises:
        TableError: no Excel file, or it has no such sheet (lists those it has).
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
    """Return the names of the sheets of an Excel file. Raises TableError when it is none."""
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
    """Read by xlrd itself: pandas 3 is about to drop it, and offers only further dependencies instead."""
    import xlrd

    try:
        with xlrd.open_workbook(path, logfile=StringIO()) as book:
            return read(book)
    except Exception as error:  # the library raises all sorts (struct, index, its own) on damaged files
        raise TableError(f"{path}: is not an Excel table ({str(error).strip()}).") from error


def _text(cell: object) -> str:
    """A cell as people see it: Excel knows no whole numbers."""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def select_columns(table: pd.DataFrame, columns: Aliases, optional: Aliases, path: Path) -> pd.DataFrame:
    """The wanted columns of a table of text, under our names, with missing cells as `""`."""
    found = {same_characters(str(name)).lower(): name for name in reversed(table.columns)}
    result = {}
    for ours, names in {**columns, **optional}.items():
        theirs = next((found[name.lower()] for name in names if name.lower() in found), None)
        if theirs is not None:
            cells = table[theirs].map(lambda cell: str(cell).strip())
            result[ours] = cells if ours in _IDS else cells.where(~cells.map(is_missing), "")
        elif ours in columns:
            near = get_close_matches(names[0].lower(), list(found), 1)
            hint = f" Is it {found[near[0]]!r}? Rename it." if near else ""
            raise TableError(
                f"{path}: no column {' or '.join(map(repr, names))}; "
                f"found {', '.join(repr(str(name)) for name in table.columns[:12])}.{hint}"
            )
    return pd.DataFrame(result, index=table.index)
