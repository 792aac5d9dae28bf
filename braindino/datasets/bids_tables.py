"""Read the tables of a BIDS dataset (participants, sessions) and the sidecars that describe their columns."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.datasets.cells import age_unit, is_missing, is_numeric, parse_age, parse_sex
from braindino.datasets.manifest import NOTE, further_column
from braindino.datasets.tables import TableError, decode_table, read_cells

_AGE = re.compile(
    r"(?:(?:participant|patient|subject|session)[ _])?age"
    r"(?:[ _]at[ _](?:scan|mri|baseline|session|visit|imaging))?"
    r"(?:[ _]?(?:in[ _])?[(\[]?(?P<unit>years?|yrs?|y|months?|mos?|weeks?|wks?|days?)[)\]]?)?",
    re.IGNORECASE,
)
_SEX = ("sex", "gender")
_CODES = re.compile(
    r"['\"]?(?P<code>-?\d+|[a-z])['\"]?\s*(?:=|:|->|is|for)\s*['\"]?(?P<word>females?|males?|women|men|woman|man)\b",
    re.IGNORECASE,
)
_WORDS = re.compile(
    r"\b(?P<word>females?|males?|women|men|woman|man)['\"]?\s*(?:=|:|->|is)\s*['\"]?(?P<code>-?\d+|[a-z])\b",
    re.IGNORECASE,
)
_START = re.compile(r"0*1|0+|(base|bl|pre|first|initial|screening|test)\w*", re.IGNORECASE)
Row = dict[str, str]


class People:
    """The people of a BIDS dataset and their sessions, as its tables describe them.

    Attributes:
        folder: the folder that holds `participants.tsv` and the subjects.
        known: whether there is a `participants.tsv`.
    """

    def __init__(
        self, folder: Path, required: bool = False, same_age: bool = False, subjects: Path | None = None
    ) -> None:
        """Read `participants.tsv` and its sidecar; tables of sessions are read when they are needed.

        Args:
            folder: the dataset's folder.
            required: whether the table has to be there, and to have ages.
            same_age: whether the age of `participants.tsv` is that of every session.
            subjects: the folder with those of the subjects, if it is not `folder`.

        Raises:
            TableError: a table or sidecar cannot be read, or is required and not there.
        """
        self.folder, self.same_age, self.subjects = folder, same_age, subjects or folder
        file = folder / "participants.tsv"
        self.known = file.is_file()
        self._rows: dict[str, list[Row]] = {}
        self._columns = _Columns(pd.DataFrame(), {})
        self._sessions: dict[str, tuple[_Columns, dict[str, Row]]] = {}
        if not self.known:
            if required:
                raise TableError(f"{file}: no such file; it holds the ages.")
            return
        table = _table(file, ("participant_id",))
        self._columns = _Columns(table, _sidecar(folder / "participants.json"))
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
        """Return the cells of a scan's person and session: `sex`, `age` in years, and all further columns.

        The age is that of the session, by the tables of sessions; else the person's, which is that of the
        first session where there are several (that of others follows from their dates, if there are any).
        The column `blank_because` has the reasons of blanks for which the tables have something.

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
        # A session without a cell of its own has the person's.
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
            return {}, [f"no row of sub-{subject} in participants.tsv"] if self.known else []
        if "session_id" in rows[0]:
            rows = [row for row in rows if row["session_id"].removeprefix("ses-") == session]
            return (rows[0], []) if rows else ({}, [f"no row of ses-{session} in participants.tsv"])
        differ = [name for name in rows[0] if len({row[name] for row in rows}) > 1]
        if differ:
            same = {name: cell for name, cell in rows[0].items() if name not in differ}
            return same, [f"{len(rows)} rows of participants.tsv differ in {', '.join(differ)}"]
        return rows[0], []

    def _visits(self, subject: str) -> tuple["_Columns", dict[str, Row]]:
        """Return the rows of a person's sessions by label, and what is known of their columns."""
        if subject not in self._sessions:
            name = f"sub-{subject}/sub-{subject}_sessions.tsv"
            own, common = self.subjects / name, self.folder / "sessions.tsv"
            own = own if own.is_file() else self.folder / name
            file = own if own.is_file() else common
            table = _table(file, ("session_id",)) if file.is_file() else pd.DataFrame()
            if file == common and len(table):
                names = table.get("participant_id", pd.Series("", index=table.index))
                table = table[names.str.removeprefix("sub-") == subject]
            sidecar = _sidecar(self.folder / "sessions.json") | _sidecar(own.with_suffix(".json"))
            rows: dict[str, Row] = {}
            for record in table.to_dict("records"):
                row = {str(name): str(cell) for name, cell in record.items()}
                rows.setdefault(row["session_id"].removeprefix("ses-"), row)
            self._sessions[subject] = (_Columns(table, sidecar), rows)
        return self._sessions[subject]

    def _age(
        self, person: Row, visit: Row, session: str, visits: dict[str, Row], sessions: Sequence[str],
        described: "_Columns",
    ) -> tuple[str, str]:  # fmt: skip
        """Return the age at a session as text, and the reason where it is blank."""
        if described.age is not None and not is_missing(visit.get(described.age)):
            return described.age_of(visit)
        age, reason = self._columns.age_of(person)
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
            return "", "age: participants.tsv has one, and which session is the first is not known"
        return "", f"age of ses-{session}: participants.tsv has that of the first session only"


class _Columns:
    """What a table's header and its sidecar say of the columns: unit of the age, codes of the sex."""

    def __init__(self, table: pd.DataFrame, sidecar: Mapping[str, Any]) -> None:
        self.names = names = [str(name) for name in table.columns]
        self._numeric = {name for name in names if is_numeric(table[name])}
        ages = [name for name in names if _AGE.fullmatch(name)]
        self.age = min(ages, key=lambda name: (name.lower() != "age", names.index(name)), default=None)
        self.sex = next((name for usual in _SEX for name in names if name.lower() == usual), None)
        self._unit, self._no_unit = self._age_unit(sidecar)
        self._levels = _levels(_described(sidecar, self.sex))

    def has_sex(self, row: Row) -> bool:
        """Return True where a row has its own sex."""
        return self.sex is not None and not is_missing(row.get(self.sex))

    def sex_of(self, row: Row) -> tuple[str, str]:
        """Return `F`, `M` or `""`, and the reason."""
        return ("", "") if self.sex is None else parse_sex(row.get(self.sex, ""), self._levels)

    def age_of(self, row: Row) -> tuple[str, str]:
        """Return the age in years as text, and the reason where it is blank."""
        cell = "" if self.age is None else row.get(self.age, "")
        if is_missing(cell):
            return "", ""
        if self._no_unit:
            return "", f"age {cell!r} is in {self._no_unit}"
        years, reason = parse_age(cell, self._unit)
        return ("", reason) if reason else (str(years), "")

    def in_years_and_letters(self, table: pd.DataFrame, sidecar: Path) -> pd.DataFrame:
        """Return a table with the cells of age and sex that can be read; others stay as they are."""
        changed: dict[str, list[str]] = {}
        if self.age is not None and self.age.lower() == "age":
            if self._no_unit:
                raise TableError(
                    f"{sidecar}: ages are in {self._no_unit}, which is no unit of time.\n"
                    'Write "Units" as year, month, week or day.'
                )
            changed[self.age] = [self.age_of({self.age: cell})[0] or cell for cell in table[self.age]]
        if self.sex is not None and self._levels:
            changed[self.sex] = [parse_sex(cell, self._levels)[0] or cell for cell in table[self.sex]]
        return table.assign(**changed)

    def further(self, row: Row) -> Row:
        """Return the cells of all columns but ids, sex and age, by their name in a manifest.

        `site` means in these tables what it means in a manifest.
        """
        known = {self.age, self.sex, "participant_id", "session_id"}
        names = [name for name in self.names if name and name not in known]
        return {
            "site" if name.lower() == "site" else further_column(name): self._cell(name, row.get(name, ""))
            for name in names
        }

    def _cell(self, name: str, cell: str) -> str:
        """Return a cell as it is, blank where it is a gap; a word among words may be a class."""
        gap = is_missing(cell) if name in self._numeric else cell.lower() in ("n/a", "nan")
        return "" if gap else cell

    def _age_unit(self, sidecar: Mapping[str, Any]) -> tuple[str, str]:
        """Return the unit of ages without one, and that of the sidecar where it is no unit of time."""
        if self.age is None:
            return "year", ""
        given = _described(sidecar, self.age).get("Units", "")
        if given and not isinstance(given, str):
            return "year", f"units {given!r}"
        if given and not is_missing(given):
            return (age_unit(given), "") if age_unit(given) else ("year", f"units {given!r}")
        match = _AGE.fullmatch(self.age)
        return age_unit((match and match["unit"]) or "year"), ""


def apply_sidecar(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Return a table with ages in years and sexes as F or M, as the JSON beside a TSV describes its columns.

    Args:
        table: text cells.
        file: the table's file; only `<name>.tsv` with `<name>.json` is changed.

    Raises:
        TableError: the JSON cannot be read, or ages are in what is no unit of time.
    """
    sidecar = file.with_suffix(".json")
    if file.suffix.lower() != ".tsv" or not sidecar.is_file():
        return table
    columns = _Columns(table, _sidecar(sidecar))
    return columns.in_years_and_letters(table, sidecar)


def _levels(described: Mapping[str, Any]) -> dict[str, str]:
    """Return code -> meaning of a column by its `Levels`, else by a description (`1 = male, 2 = female`)."""
    levels = described.get("Levels")
    if isinstance(levels, dict) and levels:
        named = {str(code): _meaning(meaning) for code, meaning in levels.items()}
        by_meaning = {meaning: code for code, meaning in named.items()}
        turned = all(parse_sex(code)[0] for code in named) and len(by_meaning) == len(named)
        # {"male": 0, "female": 1}: the wrong way round, but clear
        return by_meaning if turned and not all(parse_sex(m)[0] for m in by_meaning) else named
    text = " ".join(str(described.get(key, "")) for key in ("Description", "LongName", "Units"))
    for pattern in (_CODES, _WORDS):
        codes = {match["code"]: match["word"] for match in pattern.finditer(text)}
        if len({parse_sex(word)[0] for word in codes.values()}) == 2:
            return codes
    return {}


def _meaning(level: Any) -> str:
    """Return the text of a level; newer sidecars have an object with a description."""
    return str(level.get("Description", "")) if isinstance(level, dict) else str(level)


def _described(sidecar: Mapping[str, Any], column: str | None) -> Mapping[str, Any]:
    """Return what a sidecar says of a column, whatever the case of its name."""
    names = {str(name).lower(): value for name, value in sidecar.items()}
    value = names.get((column or "").lower())
    return value if isinstance(value, dict) else {}


def _table(file: Path, required: Sequence[str]) -> pd.DataFrame:
    table = read_cells(file)
    table.columns = pd.Index([name.lower() if name.lower() in required else name for name in table.columns])
    for name in required:
        if name not in table:
            raise TableError(f"{file}: no column {name!r}; found {', '.join(map(repr, table.columns[:12]))}.")
    if "session_id" not in table:
        table = table.rename(
            columns={n: "session_id" for n in table.columns if n.lower() in ("session_id", "session")}
        )
    return table.loc[:, ~table.columns.duplicated()]


def _sidecar(file: Path) -> dict[str, Any]:
    """Return a JSON sidecar, empty where there is none. Raises TableError when it cannot be read."""
    if not file.is_file():
        return {}
    try:
        content = json.loads(decode_table(file).lstrip("\ufeff"))
    except (ValueError, RecursionError) as error:
        raise TableError(
            f"{file}: is not JSON ({error}).\nCorrect it: it says what the columns of the table mean."
        ) from None
    return content if isinstance(content, dict) else {}


def _day(row: Row) -> pd.Timestamp | None:
    """Return the date of a session, or None: `acq_time`, in which dates may be shifted but spans are true."""
    day = pd.to_datetime(row.get("acq_time", ""), errors="coerce", format="ISO8601", utc=True)
    return None if pd.isna(day) else day


def _first(labels: Sequence[str]) -> str:
    """Return the first of sessions by their labels (in natural order), or `""` where they do not tell."""
    starts = [label for label in labels if _START.fullmatch(label)]
    if len(starts) == 1:
        return starts[0]
    kinds = {re.sub(r"\d+", "", label).lower() for label in labels}
    return labels[0] if len(kinds) == 1 and all(re.search(r"\d", label) for label in labels) else ""


def _natural(label: str) -> list[tuple[int, str]]:
    """Sort key of labels in which numbers count as numbers: 2 comes before 10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", label) if part]
