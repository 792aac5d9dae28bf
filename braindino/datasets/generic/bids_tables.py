"""Read the tables of a BIDS dataset (participants, sessions) and their JSON sidecars."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.datasets.cells import is_missing
from braindino.datasets.generic.bids_columns import BidsColumns, Row
from braindino.datasets.manifest import NOTE
from braindino.datasets.tables import decode_table, read_cells
from braindino.errors import TableError

_START = re.compile(r"0*1|0+|(base|bl|pre|first|initial|screening|test)\w*", re.IGNORECASE)


class People:
    """The people of a BIDS dataset and their sessions, as its tables describe them.

    Attributes:
        folder: the folder with `participants.tsv`.
        same_age: whether the age of `participants.tsv` is that of every session.
        subjects: the folder with the folders of the subjects.
        has_table: whether there is a `participants.tsv`.
    """

    def __init__(
        self, folder: Path, required: bool = False, same_age: bool = False, subjects: Path | None = None
    ) -> None:
        """Read `participants.tsv` and its sidecar; tables of sessions are read when they are needed.

        Args:
            folder: the dataset's folder.
            required: whether the table must exist and have ages.
            same_age: whether the age of `participants.tsv` is that of every session.
            subjects: the folder with the folders of the subjects, if it is not `folder`.

        Raises:
            TableError: a table or sidecar cannot be read, or is required and missing.
        """
        self.folder, self.same_age, self.subjects = folder, same_age, subjects or folder
        file = folder / "participants.tsv"
        self.has_table = file.is_file()
        self._rows: dict[str, list[Row]] = {}
        self._columns = BidsColumns(pd.DataFrame(), {})
        self._sessions: dict[str, tuple[BidsColumns, dict[str, Row]]] = {}
        if not self.has_table:
            if required:
                raise TableError(f"{file}: no such file; put the dataset's table with the ages there.")
            return
        table = _table(file, ("participant_id",))
        self._columns = BidsColumns(table, _sidecar(folder / "participants.json"))
        if required and self._columns.age is None:
            raise TableError(
                f"{file}: no column 'age' or 'age (years)'; found {', '.join(map(repr, table.columns[:12]))}."
            )
        for row in table.to_dict("records"):
            cells = {str(name): str(cell) for name, cell in row.items()}
            self._rows.setdefault(cells["participant_id"].removeprefix("sub-"), []).append(cells)

    def __contains__(self, subject: str) -> bool:
        """Return True where `participants.tsv` has a row of the person."""
        return subject in self._rows

    def columns(self, subject: str, session: str, sessions: Sequence[str]) -> Row:
        """Return the cells of a scan's person and session: `sex`, `age` [years], further columns.

        The age is that of the session, by the tables of sessions; else the person's, which applies to the
        first of several sessions (the age at later ones follows from their dates, if there are any). The
        column `blank_because` contains the reasons for cells that are blank although the tables have a value.

        Args:
            subject: label of the person, without `sub-`.
            session: label of the scan's session, without `ses-`, or `""`.
            sessions: labels of all sessions of the person that have a scan.
        """
        person, notes = self._person(subject, session)
        described, visits = self._visits(subject)
        visit = visits.get(session, {})
        sex, no_sex = self._columns.sex_of(person)
        if described.has_sex(visit):
            sex, no_sex = described.sex_of(visit)
        age, no_age = self._age(person, visit, session, visits, sessions, described)
        result = self._columns.further(person)
        # A cell that is blank for the session has the person's value.
        result |= {
            name: cell for name, cell in described.further(visit).items() if cell or name not in result
        }
        result |= {"sex": sex, "age": age}
        notes += [note for note in (no_sex, no_age) if note]
        return result | ({NOTE: "; ".join(notes)} if notes else {})

    def _person(self, subject: str, session: str) -> tuple[Row, list[str]]:
        """Return the person's row (of the session, where rows name sessions), and why there is none."""
        rows = self._rows.get(subject, [])
        if not rows:
            return {}, self._no_row(subject)
        if "session_id" in rows[0] and (session or len(rows) > 1):
            labels = [row["session_id"].removeprefix("ses-") for row in rows]
            rows = [row for row, label in zip(rows, labels, strict=True) if label == session]
            if not rows:
                what = f"ses-{session}{_alike(session, labels)}" if session else "a scan without a session"
                return {}, [f"no row of {what} in participants.tsv"]
        differ = [name for name in rows[0] if len({row[name] for row in rows}) > 1]
        if differ:
            same = {name: cell for name, cell in rows[0].items() if name not in differ}
            return same, [f"{len(rows)} rows of participants.tsv differ in {', '.join(differ)}"]
        return rows[0], []

    def _no_row(self, subject: str) -> list[str]:
        """Return why a person has no row; nothing where the dataset has no such table."""
        if self.has_table:
            return [f"no row of sub-{subject}{_alike(subject, self._rows)} in participants.tsv"]
        tables = [path.name for path in self.folder.glob("[Pp]articipants.*") if path.suffix != ".json"]
        return [f"{sorted(tables)[0]} is not read; BIDS has participants.tsv"] if tables else []

    def _visits(self, subject: str) -> tuple[BidsColumns, dict[str, Row]]:
        """Return the columns of the table of a person's sessions, and its rows by session label."""
        if subject not in self._sessions:
            name = f"sub-{subject}/sub-{subject}_sessions.tsv"
            beside, shared = self.subjects / name, self.folder / "sessions.tsv"
            beside = beside if beside.is_file() else self.folder / name
            file = beside if beside.is_file() else shared
            table = _table(file, ("session_id",)) if file.is_file() else pd.DataFrame()
            if file == shared and len(table):
                names = table.get("participant_id", pd.Series("", index=table.index))
                table = table[names.str.removeprefix("sub-") == subject]
            sidecar = _sidecar(self.folder / "sessions.json") | _sidecar(beside.with_suffix(".json"))
            rows: dict[str, Row] = {}
            for record in table.to_dict("records"):
                row = {str(name): str(cell) for name, cell in record.items()}
                rows.setdefault(row["session_id"].removeprefix("ses-"), row)
            self._sessions[subject] = (BidsColumns(table, sidecar), rows)
        return self._sessions[subject]

    def _age(
        self,
        person: Row,
        visit: Row,
        session: str,
        visits: dict[str, Row],
        sessions: Sequence[str],
        described: BidsColumns,
    ) -> tuple[str, str]:
        """Return the age at a session [years] as text, and the reason where it is blank.

        Args:
            person: the person's row of `participants.tsv`.
            visit: the session's row of the table of sessions.
            session: label of the session.
            visits: rows of all sessions of the person, by label.
            sessions: labels of all sessions of the person that have a scan.
            described: columns of the table of sessions.
        """
        if described.age is not None and not is_missing(visit.get(described.age)):
            return described.age_of(visit)
        age, reason = self._columns.age_of(person)
        if self._columns.unclear_age and described.age is None:
            return "", f"age: no column of a usual name (it may be {self._columns.unclear_age})"
        if session and not visit and (alike := _alike(session, visits)):
            return "", f"age: no row of ses-{session}{alike} in the table of sessions"
        labels = sorted({*sessions, *visits, session}, key=_natural)
        if not age or "session_id" in person or len(labels) < 2 or self.same_age:
            return age, reason
        days = {label: day for label in labels if (day := _day(visits.get(label, {}))) is not None}
        first = min(days, key=lambda label: days[label]) if len(days) == len(labels) else _first(labels)
        if session == first:
            return age, ""
        if session in days and first in days:
            return f"{float(age) + (days[session] - days[first]).days / 365.25:.2f}", ""
        if not first:
            return "", "age: participants.tsv has one, and it is not known which session is the first"
        return "", f"age of ses-{session}: participants.tsv has that of the first session only"


def _alike(label: str, labels: Iterable[str]) -> str:
    """Return a hint for a label that differs from another only in case or leading zeros."""

    def plain(text: str) -> str:
        return re.sub(r"\d+", lambda match: str(int(match[0])), re.sub(r"^(sub|ses)-", "", text.lower()))

    near = next((name for name in labels if name != label and plain(name) == plain(label)), None)
    return f" (is it {near!r}?)" if near is not None else ""


def apply_sidecar(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Return a table with ages in years and sexes as F or M, by the JSON beside a TSV.

    Args:
        table: text cells.
        file: the table's file; only `<name>.tsv` with `<name>.json` is changed.

    Raises:
        TableError: the JSON cannot be read, or gives a unit of ages that is no unit of time.
    """
    sidecar = file.with_suffix(".json")
    if file.suffix.lower() != ".tsv" or not sidecar.is_file():
        return table
    columns = BidsColumns(table, _sidecar(sidecar))
    return columns.in_years_and_letters(table, sidecar)


def _table(file: Path, required: Sequence[str]) -> pd.DataFrame:
    """Read a table that must have some columns; a column `session` is called `session_id`."""
    table = read_cells(file)
    table.columns = pd.Index([name.lower() if name.lower() in required else name for name in table.columns])
    for name in required:
        if name not in table:
            raise TableError(f"{file}: no column {name!r}; found {', '.join(map(repr, table.columns[:12]))}.")
    if "session_id" not in table:
        table = table.rename(
            columns={n: "session_id" for n in table.columns if n.lower() in ("session_id", "session")}
        )
    blank = [name for name in table.columns if name.startswith("Unnamed: ") and not any(table[name])]
    return table.drop(columns=blank).loc[:, lambda rest: ~rest.columns.duplicated()]


def _sidecar(file: Path) -> dict[str, Any]:
    """Return a JSON sidecar, or {} where there is none; TableError if it cannot be read."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(decode_table(file).lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise TableError(
            f"{file}: is not JSON ({error}).\nCorrect it: it describes the columns of the table."
        ) from None
    return content if isinstance(content, dict) else {}


def _day(row: Row) -> pd.Timestamp | None:
    """Return the date of a session (`acq_time`), or None; dates may be shifted, spans are true."""
    day = pd.to_datetime(row.get("acq_time", ""), errors="coerce", format="ISO8601", utc=True)
    return None if pd.isna(day) else day


def _first(labels: Sequence[str]) -> str:
    """Return the label of the first session (labels in natural order), or `""` if unclear."""
    starts = [label for label in labels if _START.fullmatch(label)]
    if len(starts) == 1:
        return starts[0]
    kinds = {re.sub(r"\d+", "", label).lower() for label in labels}
    return labels[0] if len(kinds) == 1 and all(re.search(r"\d", label) for label in labels) else ""


def _natural(label: str) -> list[tuple[int, str]]:
    """Return a sort key of a label in which numbers count as numbers: 2 comes before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", label) if part]
