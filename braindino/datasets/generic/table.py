"""Read users' tables strictly: each row has its line, and errors name file, line and column."""

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

TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".xlsx", ".xls")
_SCAN = re.compile(r"\.(nii|nii\.gz|mgz|mgh|hdr|img)$", re.IGNORECASE)


def read_user_table(file: Path, sheet: str | None = None) -> pd.DataFrame:
    """Read a CSV (comma, semicolon, tab) or a sheet of an Excel file as stripped text cells.

    Words such as `n/a` are returned unchanged, as it depends on the column whether they count as missing. The
    index has the place of each row (`<file>, line <n>`), for messages. A file without a header whose rows are
    `label,path to a scan` (BrainDINO's lists) gets the columns `label` and `path`.

    Args:
        file: the table.
        sheet: sheet of an Excel file; may be None if only one sheet has more than a header.

    Raises:
        TableError: no such file or sheet, several sheets and none given, no rows, only one column, a row with
            too many or too few cells, or two columns of one name.
    """
    if file.suffix.lower() in (".xlsx", ".xls"):
        numbered = _rows_of_sheet(file, sheet)
    elif sheet is not None:
        raise TableError(f"{file}: has no sheets; remove the option `sheet`, or give an Excel file.")
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
                f"({', '.join(header[:6])}).\nA cell that contains the delimiter needs quotes."
            )
    rows = [[cell.strip() for cell in cells] for _, cells in numbered]
    table = pd.DataFrame(rows, columns=header, index=[f"{file}, line {number}" for number, _ in numbered])
    return table[[name for name in header if name]]


def find_column(table: pd.DataFrame, name: str | None, usual: Sequence[str], what: str) -> str | None:
    """Return the spelling of a column in a table; case is ignored.

    Args:
        table: the table.
        name: the column; None for the first of the usual ones, or None if there is none.
        usual: names in lower case.
        what: what the column is, for the message.

    Raises:
        TableError: there is no column `name`; the message has the nearest one.
    """
    spelling = {str(column).lower(): str(column) for column in reversed(table.columns)}
    if name is None:
        return next((spelling[column] for column in usual if column in spelling), None)
    if name.lower() in spelling:
        return spelling[name.lower()]
    file = str(table.index[0]).rpartition(", line ")[0]
    near = get_close_matches(name.lower(), list(spelling), 1, 0.5)
    hint = f" Did you mean {spelling[near[0]]!r}?" if near else ""
    raise TableError(
        f"{file}: no column {name!r} ({what}).{hint}\nThere are {', '.join(map(repr, table.columns[:12]))}."
    )


def refuse_cells(cells: pd.Series, bad: Iterable[bool], what: str) -> None:
    """Raise TableError for the first cell that is `bad`, with its line and column.

    Args:
        cells: a column, indexed by `<file>, line <n>`.
        bad: True for each cell that is wrong.
        what: the end of the message, such as "is blank".
    """
    wrong = cells[list(bad)]
    if len(wrong):
        more = f" ({len(wrong)} rows like this)" if len(wrong) > 1 else ""
        raise TableError(f"{wrong.index[0]}, column {cells.name!r}: {str(wrong.iloc[0])!r} {what}{more}.")


def _lines(file: Path) -> list[tuple[int, list[str]]]:
    """Return the rows that are not blank, each with the line on which it ends."""
    text = decode_table(file)
    header = text.lstrip("\n").partition("\n")[0]
    # Excel's declaration of the delimiter.
    if re.fullmatch(r"sep=.", header):
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
            "Choose one with the option `sheet`."
        )
    return sheets[filled[0] if filled else next(iter(sheets))]


def _excel_rows(file: Path, sheet: str) -> list[tuple[int, list[str]]]:
    """Return the rows of a sheet that are not blank, each with its number."""
    table = read_excel(file, sheet)
    header = ["" if re.fullmatch(r"Unnamed: \d+", str(name)) else str(name) for name in table.columns]
    lines = [header, *table.to_numpy(str).tolist()]
    return [(i, cells) for i, cells in enumerate(lines, start=1) if any(cell.strip() for cell in cells)]


def _check_header(file: Path, header: list[str]) -> None:
    """Raise TableError for a header of one column only, or with two columns of one name."""
    if len(header) == 1 and re.search(r"[|:\s]", header[0]):
        raise TableError(
            f"{file}: has one column only, {header[0]!r}.\nSeparate cells by a comma, a semicolon or a tab."
        )
    lower = [name.lower() for name in header if name]
    twice = next((name for name in lower if lower.count(name) > 1), None)
    if twice is not None:
        raise TableError(f"{file}: the column {twice!r} appears twice; rename one.")
