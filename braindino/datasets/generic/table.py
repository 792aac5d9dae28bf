"""A table of one's own, read strictly: every row knows its line, and what is wrong is told by that line."""

import csv
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from io import StringIO
from pathlib import Path

import pandas as pd

from braindino.csv_text import restore
from braindino.datasets.cells import same_characters
from braindino.datasets.tables import decode_table, delimiter_of, excel_sheets, read_excel
from braindino.errors import TableError

SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".xls")
_SCAN = re.compile(r"\.(nii|nii\.gz|mgz|mgh|hdr|img)$", re.IGNORECASE)


def read_own_table(file: Path, sheet: str | None = None) -> pd.DataFrame:
    """Read a CSV (comma, semicolon or tab) or a sheet of an Excel file; cells are text, stripped.

    Words such as `n/a` stay as they are: what is a gap depends on the column. The index says where a row
    stands (`<file>, line <n>`), for messages. A file without a header whose rows are `label,path to a scan`
    (BrainDINO's lists) gets the columns `label` and `path`.

    Args:
        file: the table.
        sheet: sheet of an Excel file; may be left out where one sheet only has more than a header.

    Raises:
        TableError: no such file or sheet, several sheets and none named, no rows, one column only, a row with
            too many or too few cells, or a column name that comes twice.
    """
    if file.suffix.lower() in (".xlsx", ".xls"):
        numbered = _rows_of_sheet(file, sheet)
    elif sheet is not None:
        raise TableError(f"{file}: has no sheets; leave the option `sheet` out, or give an Excel file.")
    else:
        numbered = _lines(file)
    if not numbered:
        raise TableError(f"{file}: is empty.")
    first = numbered[0][1]
    if len(first) == 2 and _SCAN.search(first[1].strip()) and not _SCAN.search(first[0].strip()):
        header = ["label", "path"]
    else:
        header = [same_characters(name) for name in first]
        numbered = numbered[1:]
        _check_header(file, header)
    if not numbered:
        raise TableError(f"{file}: has a header and no rows.")
    for number, cells in numbered:
        if len(cells) != len(header):
            raise TableError(
                f"{file}, line {number}: has {len(cells)} cells, the header {len(header)} "
                f"({', '.join(header[:6])}).\nA cell that holds the delimiter needs quotes."
            )
    rows = [[cell.strip() for cell in cells] for _, cells in numbered]
    table = pd.DataFrame(rows, columns=header, index=[f"{file}, line {number}" for number, _ in numbered])
    return table[[name for name in header if name]]


def find_column(table: pd.DataFrame, asked: str | None, usual: Sequence[str], what: str) -> str | None:
    """The table's own name of a column: the one that is asked for, else the first usual one, else None.

    Case does not count. Raises TableError, with the nearest name, when what is asked for is not there.
    """
    there = {str(name).lower(): str(name) for name in reversed(table.columns)}
    if asked is None:
        return next((there[name] for name in usual if name in there), None)
    if asked.lower() in there:
        return there[asked.lower()]
    file = str(table.index[0]).rpartition(", line ")[0]
    near = get_close_matches(asked.lower(), list(there), 1, 0.5)
    hint = f" Did you mean {there[near[0]]!r}?" if near else ""
    raise TableError(
        f"{file}: no column {asked!r} ({what}).{hint}\nThere are {', '.join(map(repr, table.columns[:12]))}."
    )


def first_bad(cells: pd.Series, bad: Iterable[bool], what: str) -> None:
    """Raise TableError for the first cell where `bad` holds, by its line and column."""
    wrong = cells[list(bad)]
    if len(wrong):
        more = f" ({len(wrong)} rows like this)" if len(wrong) > 1 else ""
        raise TableError(f"{wrong.index[0]}, column {cells.name!r}: {str(wrong.iloc[0])!r} {what}{more}.")


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """Rows with something in them, and the line each ends on."""
    text = decode_table(file)
    header = text.lstrip("\n").partition("\n")[0]
    if re.fullmatch(r"sep=.", header):  # Excel's own mark of the delimiter
        delimiter, text = header[-1], text.partition(header)[2]
    else:
        delimiter = delimiter_of(header)
    reader = csv.reader(StringIO(text), delimiter=delimiter)
    try:
        rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
        return [(line, [restore(cell) for cell in cells]) for line, cells in rows]
    except csv.Error as error:
        raise TableError(f"{file}, line {reader.line_num}: is not a table ({error}).") from error


def _rows_of_sheet(file: Path, sheet: str | None) -> list[tuple[int, list[str]]]:
    """Return the rows of the named sheet, or of the only one that has any below its first row."""
    names = excel_sheets(file)
    sheets = {name: _excel_rows(file, name) for name in (names if sheet is None else [sheet])}
    filled = [name for name, rows in sheets.items() if len(rows) > 1]
    if len(filled) > 1:
        raise TableError(
            f"{file}: has {len(filled)} sheets with rows ({', '.join(map(repr, filled))}).\n"
            "Name the one to read with the option `sheet`."
        )
    return sheets[filled[0] if filled else next(iter(sheets))]


def _excel_rows(file: Path, sheet: str) -> list[tuple[int, list[str]]]:
    table = read_excel(file, sheet)
    header = ["" if re.fullmatch(r"Unnamed: \d+", str(name)) else str(name) for name in table.columns]
    lines = [header, *table.to_numpy(str).tolist()]
    return [(i, cells) for i, cells in enumerate(lines, start=1) if any(cell.strip() for cell in cells)]


def _check_header(file: Path, header: list[str]) -> None:
    if len(header) == 1 and re.search(r"[|:\s]", header[0]):
        raise TableError(
            f"{file}: has one column only, {header[0]!r}.\n"
            "Cells are to be separated by a comma, a semicolon or a tab."
        )
    lower = [name.lower() for name in header if name]
    twice = next((name for name in lower if lower.count(name) > 1), None)
    if twice is not None:
        raise TableError(f"{file}: the column {twice!r} comes twice; rename one.")
