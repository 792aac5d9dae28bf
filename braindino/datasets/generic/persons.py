"""Decide which rows of a table are one person, and reject tables where that is ambiguous."""

import re
from collections.abc import Sequence

import pandas as pd

from braindino.datasets.cells import is_missing
from braindino.datasets.generic.visits import visits_of_one_person
from braindino.errors import TableError

# Names, in lower case and without punctuation, of columns that may hold an id, in order of preference.
IDS = (
    *("id", "patid", "subject", "subjectid", "participantid", "patientid", "participant", "personid"),
    *("person", "subid", "sub", "subj", "ptid", "rid", "eid", "patno", "subjectkey", "mrn", "pid"),
    *("patientnumber", "subjectnumber", "patient", "case"),
)
# Names among IDS that always mean a person, even beside another id. `patient` and `case` may be a diagnosis.
PERSONS = (
    "subject",
    "subjectid",
    "participantid",
    "patientid",
    "participant",
    "personid",
    "person",
    "ptid",
    "rid",
    "eid",
    "patno",
    "subjectkey",
)
# Years between the ages of one person in one session; a birthday and rounding account for 1.
MAX_AGE_SPAN = 10.0
_BIDS = re.compile(r"(?<![A-Za-z0-9])(sub-[A-Za-z0-9]+)")


def id_column(table: pd.DataFrame, grouped: bool) -> str | None:
    """Return the column of a table with the id by its usual name, or None.

    Args:
        table: text cells, indexed by `<file>, line <n>`.
        grouped: whether an option defines the persons, so that two columns may disagree.

    Raises:
        TableError: another column of persons groups the rows differently.
    """
    named = {_plain(name): str(name) for name in reversed(table.columns)}
    usual = [named[name] for name in IDS if name in named]
    if not usual:
        return None
    if not grouped:
        refuse_rivals(table, usual[0])
    return usual[0]


def refuse_rivals(table: pd.DataFrame, chosen: str) -> None:
    """Raise TableError if another column of persons groups the rows differently from `chosen`."""
    for name in map(str, table.columns):
        if name == chosen or _plain(name) not in PERSONS:
            continue
        both = table[~table[[chosen, name]].map(is_missing).any(axis=1)]
        pairs = both[[chosen, name]].drop_duplicates()
        if pairs[chosen].is_unique and pairs[name].is_unique:
            continue
        raise TableError(
            f"{file_of(table)}: the columns {chosen!r} ({both[chosen].nunique()} different) and {name!r} "
            f"({both[name].nunique()} different) do not agree on which rows are one person.\n"
            f"Choose the right one with the option `group`: `group: {name}` or `group: {chosen}`."
        )


def refuse_shared_ids(table: pd.DataFrame, ids: str, dataset: str) -> None:
    """Raise TableError if one id has rows of two datasets, which may be one person or two."""
    pairs = table[~table[[ids, dataset]].map(is_missing).any(axis=1)].drop_duplicates([ids, dataset])
    twice = pairs[pairs[ids].duplicated(keep=False)]
    if twice.empty:
        return
    name = twice[ids].iloc[0]
    rows = twice[twice[ids] == name]
    raise TableError(
        f"{rows.index[1]}: the id {name!r} is of dataset {rows[dataset].iloc[1]!r} here and of "
        f"{rows[dataset].iloc[0]!r} in {_place(rows.index[0])} ({twice[ids].nunique()} ids like this): one "
        f"person or two?\nGive `group: {ids}` for one person, `group: [{dataset}, {ids}]` for two."
    )


def refuse_two_sites(table: pd.DataFrame, ids: str, site: str, session: str | None) -> None:
    """Raise TableError if one id has rows of two sites in one session: both may count from 1."""
    columns = [ids, *([session] if session else [])]
    pairs = table[~table[[ids, site]].map(is_missing).any(axis=1)].drop_duplicates([*columns, site])
    twice = pairs[pairs.duplicated(columns, keep=False)]
    if twice.empty:
        return
    rows = twice[(twice[columns] == twice[columns].iloc[0]).all(axis=1)]
    raise TableError(
        f"{rows.index[1]}: the id {rows[ids].iloc[1]!r} is of site {rows[site].iloc[1]!r} here and of "
        f"{rows[site].iloc[0]!r} in {_place(rows.index[0])} ({twice[ids].nunique()} ids like this): one "
        f"person or two?\nGive `group: {ids}` for one person, `group: [{site}, {ids}]` for two."
    )


def numbered_visits(cells: Sequence[str]) -> list[str]:
    """Return two ids that may be visits (`p1_1`, `p1_2`), if at least half of the ids are such."""
    stems: dict[str, list[str]] = {}
    for cell in dict.fromkeys(cells):
        if match := re.fullmatch(r"(.*\d.*)[-_. ]0?[1-9]", cell):
            stems.setdefault(match[1], []).append(cell)
    several = [group for group in stems.values() if len(group) > 1]
    return several[0][:2] if several and len(several) * 2 >= len(stems) else []


def refuse_lookalike_ids(table: pd.DataFrame, ids: str, dataset: str | None) -> None:
    """Raise TableError if ids of one dataset may be spellings or visits of one person.

    Spellings are `S1` and `s1`, `101` and `101.0`, `sub-01` and `01` (not `1` and `01`); visits `p1_m12` and
    `p1_bl`, `sub-01_ses-1` and `sub-01_ses-2`.
    """
    for _, rows in table.groupby(dataset) if dataset else [("", table)]:
        cells = rows[ids].drop_duplicates()
        people: dict[str, list[str]] = {}
        for cell in cells:
            people.setdefault(_spelling(cell), []).append(cell)
        spelled = [group for group in people.values() if len(group) > 1]
        _refuse_ids(rows, ids, spelled, "spellings of one person", "Use one spelling for one person")
        visits = [*visits_of_one_person(cells).values(), *_visits_of_bids(cells)]
        remedy = 'Define the persons: `person: "<expression>"` matches the person in the id'
        _refuse_ids(rows, ids, visits, "visits of one person", remedy)


def _refuse_ids(rows: pd.DataFrame, ids: str, groups: list[list[str]], what: str, remedy: str) -> None:
    """Raise TableError for the first group of ids that may be one person's, if there is any."""
    if not groups:
        return
    first, second = groups[0][:2]
    before, here = (str(rows.index[list(rows[ids]).index(cell)]) for cell in (first, second))
    more = f" ({len(groups)} groups like this)" if len(groups) > 1 else ""
    raise TableError(
        f"{here}, column {ids!r}: {second!r} looks like {first!r} in {_place(before)}: {what}{more}?\n"
        f"{remedy}; `group: {ids}` means that they are different people."
    )


def _spelling(cell: str) -> str:
    """Return a form of an id that is the same for all its spellings."""
    text = re.sub(r"(?<=\d)\.0+$", "", cell.casefold())
    return re.sub(r"[-_ ]+", "-", re.sub(r"^(sub|subj|subject)[-_ ]", "", text))


def _visits_of_bids(cells: pd.Series) -> list[list[str]]:
    """Return groups of ids of one BIDS subject: `sub-01_ses-1`, `sub-01_run-2`."""
    people: dict[str, list[str]] = {}
    for cell in cells:
        if match := _BIDS.match(cell):
            people.setdefault(match[1], []).append(cell)
    return [group for group in people.values() if len(group) > 1]


def refuse_shared_subjects(table: pd.DataFrame, paths: Sequence[str]) -> None:
    """Raise TableError if a table without ids has a BIDS subject in the paths of several rows."""
    first: dict[str, str] = {}
    for where, path in zip(map(str, table.index), paths, strict=True):
        match = _BIDS.search(path)
        if match is None:
            continue
        if match[1] in first:
            raise TableError(
                f"{where}: has a scan of {match[1]}, as {_place(first[match[1]])} has, and no column "
                "identifies persons.\n"
                'Define them: `person: "sub-[A-Za-z0-9]+"` matches the person in the path, `group` or `id` '
                "names a column."
            )
        first[match[1]] = where


def refuse_duplicates(table: pd.DataFrame) -> None:
    """Raise TableError if two rows are one scan: the same case and sequence, or the same file."""
    for columns, what in (
        (["dataset", "subject", "session", "modality"], "the same id, session and sequence"),
        (["path"], "the same file"),
    ):
        twice = table[table.duplicated(columns, keep=False)]
        if len(twice):
            same = (twice[columns] == twice[columns].iloc[0]).all(axis=1)
            first, second = twice.index[same][:2]
            named = ", ".join(filter(None, twice[columns].iloc[0].astype(str)))
            raise TableError(
                f"{second}: {what} as {first} ({named}).\n"
                "Remove one, or name the column that distinguishes them with `session` or `modality`; for "
                "two people of one id, the columns that identify a person, such as `group: [site, id]`."
            )


def refuse_contradictions(table: pd.DataFrame) -> None:
    """Raise TableError if a person has two sexes, or ages too far apart for one session.

    Args:
        table: a manifest's table, indexed by the place of each row.
    """
    frame = table.assign(where=table.index.astype(str))
    sexes = frame[~frame["sex"].map(is_missing)].drop_duplicates(["group", "sex"])
    twice = sexes[sexes["group"].duplicated(keep=False)]
    if len(twice):
        rows = twice[twice["group"] == twice["group"].iloc[0]]
        _refuse(rows, "sex", twice["group"].nunique(), "")
    aged = frame.assign(age=pd.to_numeric(frame["age"], errors="coerce")).dropna(subset="age")
    if aged.empty:
        return
    sessions = aged.groupby(["group", "session"])["age"].agg(["min", "max"])
    apart = sessions[sessions["max"] - sessions["min"] >= MAX_AGE_SPAN]
    if len(apart):
        group, session = apart.index[0]
        rows = aged[(aged["group"] == group) & (aged["session"] == session)].sort_values("age")
        people = len(set(apart.index.get_level_values(0)))
        _refuse(rows.iloc[[0, -1]], "age", people, ", or sessions apart with `session`")


def _refuse(rows: pd.DataFrame, column: str, people: int, more: str) -> None:
    """Raise TableError for two rows of a person that contradict each other in a column."""
    first, second = rows[column].iloc[0], rows[column].iloc[1]
    like = f" ({people} people like this)" if people > 1 else ""
    here, before = (f"{cell:g}" if column == "age" else repr(cell) for cell in (second, first))
    person, place = rows["group"].iloc[0], _place(rows["where"].iloc[0])
    raise TableError(
        f"{rows['where'].iloc[1]}: the person {person!r} has {column} {here} here and {before} in {place}"
        f"{like}; one person cannot.\nCorrect the cell, or separate people with the option `group`, the "
        f"columns that identify a person{more}."
    )


def joined(cells: Sequence[str]) -> str:
    """Return one name for several cells: different cells give different names."""
    if len(cells) == 1:
        return cells[0]
    return "/".join(cell.replace("%", "%25").replace("/", "%2F") for cell in cells)


def file_of(table: pd.DataFrame) -> str:
    """Return the file that a table was read from, by its index."""
    return str(table.index[0]).rpartition(", line ")[0]


def _place(where: str) -> str:
    """Return `line <n>` of `<file>, line <n>`."""
    return str(where).rpartition(", ")[2]


def _plain(name: object) -> str:
    """Return a column's name in lower case and without punctuation."""
    return re.sub(r"[\W_]+", "", str(name).lower())
