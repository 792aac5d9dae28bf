"""Read and write manifests: a CSV with one row per scan, and a list of excluded files."""

import math
import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braindino.csv_text import csv_text, restore_table
from braindino.datasets.cells import is_age, is_missing, parse_age, parse_sex
from braindino.errors import ManifestError
from braindino.files import atomic_write, describe_special_file
from braindino.scans.store.origins import ORIGIN

COLUMNS = ("dataset", "subject", "session", "modality", "path", "group", "site", "sex", "age")
MASK = "mask"  # modality of a mask: a label, never prepared as an image
IDENTITY = ("dataset", "subject", "session")  # columns that identify a case
DROPPED_COLUMNS = ("path", "subject", "reason")
LABELS = ("site", "sex", "age", "dataset")  # standard columns that may be a label
FURTHER = "_in_table"  # suffix in a manifest of a table's column with a standard or reserved name
RESERVED = ("case", MASK)  # columns of a table of cases; see `datasets.cases.case_table`
NOT_A_SCAN = "not a scan, by its name and content"  # reason of files that no dataset uses
NOTE = "blank_because"  # column of a manifest: why a cell is blank although the source table has a value
DOCUMENTED_SEX = {"1": "male", "2": "female"}  # codes of those public datasets that document codes
_REQUIRED = ("dataset", "subject", "modality", "path", "group")


def is_manifest(file: Path) -> bool:
    """Return True for a CSV with the columns of a manifest."""
    if describe_special_file(file):
        return False
    with file.open("rb") as content:
        header = content.readline(4096).decode("utf-8-sig", "replace")
    return set(COLUMNS) <= {name.strip(' "\r\n') for name in header.split(",")}


def further_column(name: str) -> str:
    """Return a column's name in a manifest, distinct from standard and reserved names."""
    return f"{name}{FURTHER}" if name.lower() in (*COLUMNS, *RESERVED) else name


def label_column(table: pd.DataFrame, name: str) -> str:
    """Return the manifest's column of the label that a user calls `name`, or `name` itself.

    `group` of a manifest is the person; for a table's column of that name see `further_column`.

    Args:
        table: the table of a manifest.
        name: name of the label, in any case.
    """
    columns = {str(column).lower(): str(column) for column in reversed(table.columns)}
    from_table = columns.get(f"{name}{FURTHER}".lower())
    if from_table is not None:
        return from_table
    return columns.get(name.lower(), name) if name.lower() not in COLUMNS or name.lower() in LABELS else name


def describe_path(path: Path) -> str:
    """Return a path as valid UTF-8; other bytes become escapes."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass
class Manifest:
    """Scans of a dataset.

    Attributes:
        table: columns `COLUMNS`, then label columns; paths are absolute. A missing value is `""` in text
            columns and NaN in `age` (years).
        dropped: columns `DROPPED_COLUMNS`: every scan that was excluded, with the reason.
        passed_over: paths of all other files (tables, texts, pictures); they are written to the list of
            dropped files and not read back.
    """

    table: pd.DataFrame
    dropped: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(DROPPED_COLUMNS)))
    passed_over: list[str] = field(default_factory=list)

    @property
    def label_columns(self) -> list[str]:
        """Return the names of the columns after the standard ones."""
        return [column for column in self.table.columns if column not in (*COLUMNS, ORIGIN)]

    def without(self, reasons: Sequence[str]) -> "Manifest":
        """Return the manifest without the rows that have a reason; these join `dropped`.

        Args:
            reasons: one per row of `table`, `""` for rows that stay.
        """
        out = np.array([bool(reason) for reason in reasons], dtype=bool)
        removed = self.table.loc[out, ["path", "subject"]].assign(
            reason=[reason for reason in reasons if reason]
        )
        dropped = pd.concat([self.dropped, removed], ignore_index=True)
        return Manifest(self.table[~out].reset_index(drop=True), dropped, self.passed_over)

    @classmethod
    def read(cls, csv: Path | str) -> "Manifest":
        """Read a manifest and the `<stem>.dropped.csv` beside it if there is one.

        Args:
            csv: the file.

        Raises:
            ManifestError: not a table, a column is missing, or a cell is wrong; the message gives file, line
                and column.
        """
        csv = Path(csv)
        table = _read_csv(csv)
        absent = [column for column in COLUMNS if column not in table.columns]
        if absent:
            near = get_close_matches(absent[0], [c for c in table.columns if c not in COLUMNS], 1)
            hint = f" (is it {near[0]!r}?)" if near else ""
            if len(table.columns) == 1 and (";" in table.columns[0] or "\t" in table.columns[0]):
                hint = " (cells must be separated by commas, not by semicolons or tabs)"
            raise ManifestError(
                f"{csv}: no column {absent[0]!r}{hint}; found {', '.join(map(repr, table.columns[:12]))}.\n"
                f"A manifest has the columns {', '.join(COLUMNS)}; write one with `braindino index`."
            )
        if table.empty:
            raise ManifestError(f"{csv}: contains no scans, only a header.")
        for column in _REQUIRED:
            _refuse(csv, table, column, table[column] == "", "is blank")
        table = table.rename(columns={name: further_column(name) for name in RESERVED})
        sex = table["sex"].map(lambda cell: parse_sex(cell)[0])
        _refuse(csv, table, "sex", (sex == "") & ~table["sex"].map(is_missing), "must be F, M or blank")
        age = table["age"].map(_written_age).astype(float)
        _refuse(csv, table, "age", age.isna() & ~table["age"].map(is_missing), "must be a number of years")
        base = csv.absolute().parent
        paths = table["path"].map(lambda path: os.path.normpath(base / path))
        _refuse(csv, table, "path", paths.duplicated(), "appears in an earlier row too; one row per scan")
        table = table.assign(path=paths, sex=sex, age=age)
        if ORIGIN in table:
            table[ORIGIN] = table[ORIGIN].map(lambda path: os.path.normpath(base / path) if path else "")
        for column in table.columns.difference(list(COLUMNS)):
            table[column] = _numbers_if_all_are(table[column])
        beside = _dropped_file(csv)
        if not beside.is_file():
            return cls(table[[*COLUMNS, *(c for c in table.columns if c not in COLUMNS)]])
        dropped = _read_csv(beside)
        dropped = dropped[dropped["reason"] != NOT_A_SCAN].reset_index(drop=True)
        dropped["path"] = dropped["path"].map(lambda path: os.path.normpath(base / path) if path else "")
        return cls(table[[*COLUMNS, *(c for c in table.columns if c not in COLUMNS)]], dropped)

    def write(self, csv: Path | str) -> None:
        """Write the table, and the excluded files to `<stem>.dropped.csv`, with relative paths.

        Args:
            csv: the file; paths are relative to its folder.
        """
        csv = Path(csv)
        base = csv.absolute().parent
        passed_over = pd.DataFrame({"path": self.passed_over, "subject": "", "reason": NOT_A_SCAN})
        excluded = self.dropped
        if len(passed_over):
            excluded = pd.concat([self.dropped, passed_over], ignore_index=True)
        for target, table in ((csv, self.table), (_dropped_file(csv), excluded)):
            paths = table["path"].map(lambda path: _relative(path, base) if path else "")
            table = table.assign(path=paths)
            if ORIGIN in table:
                table[ORIGIN] = table[ORIGIN].map(lambda path: _relative(path, base) if path else "")
            with atomic_write(target) as file:
                file.write(csv_text(table))


class ManifestBuilder:
    """Collect the rows of a manifest: scans to use, and scans dropped with a reason."""

    def __init__(self, dataset: str, origin: Path | None = None) -> None:
        """Start without scans.

        Args:
            dataset: name of the dataset.
            origin: the table or folder that the dataset is named after, if the user gave no name.
        """
        self.dataset = dataset
        self._origin = {} if origin is None else {ORIGIN: _absolute(origin)}
        self._rows: list[dict[str, Any]] = []
        self._dropped: list[tuple[str, str, str]] = []
        self._passed_over: list[str] = []

    def keep(self, path: Path, subject: str, modality: str, group: str | None = None, **columns: Any) -> None:
        """Add a scan.

        Args:
            path: the file.
            subject: the id in the source dataset.
            modality: sequence of the scan.
            group: the person, `<dataset>:<subject>` by default.
            **columns: further cells by column; `sex` and `age` as the table has them.

        Raises:
            ManifestError: the age is no age, bound or range.
        """
        if describe_path(path) != str(path):
            self.drop(path, subject, "file name is not valid UTF-8")
            return
        row: dict[str, Any] = dict.fromkeys(COLUMNS, "") | {"age": math.nan}
        row |= {"dataset": self.dataset, "subject": subject, "modality": modality} | columns | self._origin
        row |= {"path": _absolute(path), "group": group or f"{self.dataset}:{subject}"}
        # macOS writes `ü` in file names as two characters; the key of a person must not depend on it.
        row |= {name: unicodedata.normalize("NFC", row[name]) for name in ("subject", "session", "group")}
        row["sex"], no_sex = parse_sex(row["sex"], DOCUMENTED_SEX)
        row["age"], no_age = _years(path, subject, row["age"])
        notes = [note for note in (row.pop(NOTE, ""), no_sex, no_age) if note]
        if notes:
            row[NOTE] = "; ".join(notes)
        self._rows.append(row)

    def drop(self, path: Path | str, subject: str, reason: str) -> None:
        """Record that a file, or a case without a file (`path` empty), is excluded.

        Args:
            path: the file, or `""`.
            subject: id of the person, or `""`.
            reason: why it is excluded.
        """
        where = describe_path(Path(_absolute(path))) if str(path) else ""
        # An id may be the name of a folder, which is not always UTF-8.
        self._dropped.append((where, describe_path(Path(subject)) if subject else "", reason))

    def reasons(self, start: str = "") -> str:
        """Return the three most frequent reasons with their counts, for a message.

        Args:
            start: prefix of the reasons to count; it is removed from the text.
        """
        chosen = [reason.removeprefix(start) for _, _, reason in self._dropped if reason.startswith(start)]
        return "; ".join(f"{count} x {reason}" for reason, count in Counter(chosen).most_common(3))

    def pass_over(self, path: Path) -> None:
        """Record a file that is no scan and that no dataset uses."""
        self._passed_over.append(describe_path(Path(_absolute(path))))

    def build(self) -> Manifest:
        """Return the manifest, sorted independently of the file system."""
        table = pd.DataFrame(self._rows, columns=list(COLUMNS) if not self._rows else None)
        for name in {name for row in self._rows for name in row} - set(COLUMNS):
            # A column that only some scans have is text.
            if any(name not in row for row in self._rows):
                table[name] = [row.get(name, "") for row in self._rows]
        if NOTE in table:
            # Make the note the last column.
            table[NOTE] = table.pop(NOTE)
        table = table.sort_values(["dataset", "subject", "session", "modality", "path"], ignore_index=True)
        dropped = pd.DataFrame(self._dropped, columns=list(DROPPED_COLUMNS))
        dropped = dropped.sort_values(list(DROPPED_COLUMNS), ignore_index=True)
        return Manifest(table, dropped, sorted(self._passed_over))


def _years(path: Path, subject: str, age: object) -> tuple[float, str]:
    if not is_age(age):
        raise ManifestError(
            f"{path}: the table's age of {subject!r} is {str(age)!r}, no number of years.\n"
            "Correct it there, or leave it blank."
        )
    return parse_age(age)


def _written_age(cell: str) -> float:
    """Return an age of a manifest; one out of range is not changed, `check` reports it."""
    try:
        return math.nan if is_missing(cell) else float(cell)
    except ValueError:
        return parse_age(cell)[0]


def _dropped_file(csv: Path) -> Path:
    return csv.with_name(f"{csv.stem}.dropped.csv")


def _absolute(path: Path | str) -> str:
    """Return an absolute path without `..`; links are not resolved, to match the user's path."""
    return os.path.normpath(Path(path).absolute())


def _relative(path: str, base: Path) -> str:
    return Path(os.path.relpath(path, base)).as_posix()


def _read_csv(csv: Path) -> pd.DataFrame:
    if special := describe_special_file(csv):
        raise ManifestError(f"{csv}: {special}; expected a table.")
    try:
        table = pd.read_csv(csv, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        raise ManifestError(f"{csv}: no such file. `braindino index` writes a manifest.") from None
    except OSError as error:
        raise ManifestError(f"{csv}: cannot be read ({error.strerror}).") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ManifestError(f"{csv}: cannot be read as a CSV in UTF-8 ({str(error).strip()}).") from error
    # pandas takes the first cells for row names if rows have more cells than the header.
    if not isinstance(table.index, pd.RangeIndex):
        raise ManifestError(
            f"{csv}, line 2: has more cells than the header.\nA cell that holds a comma needs quotes."
        )
    return restore_table(table)


def _refuse(csv: Path, table: pd.DataFrame, column: str, bad: pd.Series, what: str) -> None:
    """Raise ManifestError for the first row where `bad` is True; the header is line 1."""
    if bad.any():
        row = int(bad.to_numpy().argmax())
        more = f" ({int(bad.sum())} rows like this)" if bad.sum() > 1 else ""
        cell = table[column].iloc[row]
        raise ManifestError(f"{csv}, line {row + 2}, column {column!r}: {cell!r} {what}{more}.")


def _numbers_if_all_are(column: pd.Series) -> pd.Series:
    """Return a label column as numbers if all cells are numbers without leading zeros."""
    filled = column[column != ""]
    if filled.empty or filled.str.match(r"^0\d").any():
        return column
    numbers = pd.to_numeric(filled, errors="coerce")
    if numbers.isna().any():
        return column
    return pd.to_numeric(column, errors="coerce")
