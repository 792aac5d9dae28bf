"""What can be wrong with a manifest, check by check: tables in, findings with row, column and remedy out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from braindino.datasets.cells import AGES, is_missing, lookalikes, visible
from braindino.datasets.generic.labels import as_text
from braindino.datasets.generic.persons import MAX_AGE_SPAN
from braindino.datasets.manifest import IDENTITY, MASK

UNKNOWN = "unknown"  # what `folder` calls a sequence that a file name does not tell
_MANY = 5  # scans of one dataset and sequence, from which on one can be unlike the others
_FACTOR = 1.5  # how much larger or smaller than usual is told, unless the scans vary that much anyway


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in one cell."""

    check: str
    row: int  # line of the file, the header being line 1
    column: str
    value: str
    finding: str
    file: str = ""  # when it is not the manifest


# Every check, in the order of the report, with what to do about a finding.
REMEDIES = {
    "missing files": "fetch the file, correct the path, or take the row out",
    "unusable headers": "repair or convert the file, or take the row out; `prepare` will reject it",
    "rejected by the store": "repair the file and run `prepare` again, or take the row out",
    "people under two ids": "give both rows the same `group`, or take one out: the scan is the same",
    "ids that look alike": "write one spelling, or give the rows the same `group`, if they are of one person",
    "duplicate scans": "take one of the rows out",
    "contradictions": "correct the row: a person has one sex, an id one person, a case one label",
    "sequences missing": "add the scan, or probe with `--probe.missing drop` to leave such cases out",
    "several scans of a sequence": "keep one per case (the first is used), or tell sessions apart",
    "labels missing": "fill the label in, or take the row out",
    "labels that look alike": "write one spelling; as they stand they are different classes",
    "labels out of range": "correct the label, or leave it blank",
    "shape or spacing unlike the others": "look at the scan: cut off, another sequence, or a wrong header?",
    "splits that share a person": "put all rows of the person into one part",
    "split file": "correct the name, or add the row",
    "seen in pretraining": "leave these people out of the test part, or pretrain without them (`exclude`)",
}


def files(table: pd.DataFrame, looks: pd.DataFrame, rejects: dict[str, str]) -> Iterator[Finding]:
    """Missing files, headers that cannot be used, and what a store rejected (path -> reason)."""
    for row, path, there, reason in zip(
        _rows(table), table["path"], looks["there"], looks["reason"], strict=True
    ):
        if not there:
            yield Finding("missing files", row, "path", path, "no such file")
        elif reason:
            yield Finding("unusable headers", row, "path", path, reason)
        elif path in rejects:
            yield Finding("rejected by the store", row, "path", path, rejects[path])


def duplicates(table: pd.DataFrame, looks: pd.DataFrame, split: pd.Series | None) -> Iterator[Finding]:
    """Equal files: of one person a duplicate, of two people the same person (or a mix-up)."""
    content = looks["content"].to_numpy()
    frame = table.assign(row=_rows(table), content=content, split="" if split is None else split.to_numpy())
    for _, same in frame[frame["content"] != ""].groupby("content", sort=False):
        first = same.iloc[0]
        for other in records(same.iloc[1:]):
            if other["group"] == first["group"]:
                finding = f"the same content as line {first['row']}"
                yield Finding("duplicate scans", other["row"], "path", other["path"], finding)
                continue
            parts = {first["split"], other["split"]} - {"", "none"}
            across = f", and they are in {' and '.join(sorted(parts))}" if len(parts) > 1 else ""
            finding = f"the same content as line {first['row']}, whose group is {first['group']}{across}"
            yield Finding("people under two ids", other["row"], "group", other["group"], finding)


def ids(table: pd.DataFrame) -> Iterator[Finding]:
    """People of a dataset whose ids differ only in case, blanks or characters that do not show."""
    frame = table.assign(row=_rows(table)).drop_duplicates(["dataset", "subject", "group"])
    for _, dataset in frame.groupby("dataset", sort=False):
        for first, *rest in lookalikes(dataset["subject"].astype(str)):
            people = dataset[dataset["subject"].astype(str).isin([first, *rest])].drop_duplicates("group")
            for row in records(people.iloc[1:]):
                told = f"looks like {visible(first)!r} in line {people['row'].iloc[0]}"
                value = visible(str(row["subject"]))
                yield Finding("ids that look alike", int(row["row"]), "subject", value, told)


def contradictions(table: pd.DataFrame, targets: Sequence[str]) -> Iterator[Finding]:
    """One id with two people, one person with two sexes or ages in a session, one case with two labels."""
    frame = table.assign(row=_rows(table))
    pairs = [(["dataset", "subject"], "group"), (["group"], "sex")]
    for by, column in [*pairs, *((list(IDENTITY), name) for name in targets)]:
        filled = frame[~frame[column].map(is_missing)]
        first = filled.groupby(by)[[column, "row"]].transform("first")
        for at in filled.index[filled[column] != first[column]]:
            who = ":".join(str(filled.loc[at, name]) for name in by if filled.loc[at, name])
            told = f"{who} has {first.loc[at, column]} in line {first.loc[at, 'row']}"
            value = str(filled.loc[at, column])
            yield Finding("contradictions", int(filled.loc[at, "row"]), column, value, told)
    yield from _ages_apart(frame)


def _ages_apart(frame: pd.DataFrame) -> Iterator[Finding]:
    """Rows of a person whose age is not that of another row of the same session."""
    aged = frame[frame["age"].between(*AGES)]
    youngest = aged.sort_values("age", kind="stable").groupby(["group", "session"])[["age", "row"]]
    first = youngest.transform("first")
    for at in aged.index[aged["age"] - first["age"].reindex(aged.index) >= MAX_AGE_SPAN]:
        told = f"{aged.loc[at, 'group']} has {first.loc[at, 'age']:g} in line {first.loc[at, 'row']:g}"
        row = int(aged.loc[at, "row"])
        yield Finding("contradictions", row, "age", f"{aged.loc[at, 'age']:g}", told)


def sequences(table: pd.DataFrame, wanted: Sequence[str] | None) -> Iterator[Finding]:
    """Cases with a sequence twice, or without one that is wanted (or that half of the dataset's have).

    A sequence that nobody could tell ("unknown") is neither.
    """
    scans = table.assign(row=_rows(table))
    scans = scans[~scans["modality"].isin([MASK, UNKNOWN])]
    for _, dataset in scans.groupby("dataset", sort=False):
        cases = dataset.groupby(list(IDENTITY), sort=False)
        usual = dataset.drop_duplicates([*IDENTITY, "modality"])["modality"].value_counts()
        expected = sorted(usual.index[usual * 2 >= cases.ngroups]) if wanted is None else list(wanted)
        for _, case in cases:
            has = list(case["modality"])
            lacking = [name for name in expected if name not in has]
            if lacking:
                told = f"{_case(case.iloc[0])} lacks {', '.join(lacking)}"
                yield Finding(
                    "sequences missing",
                    int(case["row"].iloc[0]),
                    "modality",
                    ", ".join(dict.fromkeys(has)),
                    told,
                )
            for at in case.index[case["modality"].duplicated()]:
                told = f"{_case(case.iloc[0])} has another {case.loc[at, 'modality']}"
                row, name = int(case.loc[at, "row"]), str(case.loc[at, "modality"])
                yield Finding("several scans of a sequence", row, "modality", name, told)


def labels(
    table: pd.DataFrame,
    column: str,
    classes: Sequence[str] = (),
    between: tuple[float, float] | None = None,
) -> Iterator[Finding]:
    """Labels that are blank, spelt in two ways, no class, no number among numbers, or out of range."""
    cells = table[column].map(lambda cell: as_text(cell, classes))
    rows = _rows(table)
    if not classes:
        yield from _lookalikes(cells[cells != ""], column)
    blank = cells == ""
    numeric = pd.to_numeric(cells, errors="coerce")
    numeric = numeric.where(np.isfinite(numeric))
    mostly = bool((numeric.notna() & ~blank).sum() * 10 >= (~blank).sum() * 9)
    for row, raw, cell, number, missing in zip(rows, table[column], cells, numeric, blank, strict=True):
        if missing:
            word = str(raw).strip()
            told = f"{word!r} counts as missing; a class of that name is to be listed" if word else "blank"
            yield Finding("labels missing", row, column, "", "blank" if word == "nan" else told)
        elif classes:
            if cell not in classes:
                told = f"none of {', '.join(classes)}"
                yield Finding("labels out of range", row, column, cell, told)
        elif np.isnan(number):
            if mostly or between is not None:
                yield Finding("labels out of range", row, column, cell, "no finite number")
        elif between is not None and not between[0] <= number <= between[1]:
            told = f"outside of {between[0]:g} to {between[1]:g}"
            yield Finding("labels out of range", row, column, cell, told)


def _lookalikes(cells: pd.Series, column: str) -> Iterator[Finding]:
    """Labels that differ from a more frequent one only in case, blanks or characters that do not show."""
    count = cells.value_counts()
    for group in lookalikes(count.index):
        usual, *rest = group
        for name in rest:
            told = f"looks like {visible(usual)!r} ({count[usual]} so spelt, {count[name]} this way)"
            row = int(_rows(cells[cells == name])[0])
            yield Finding("labels that look alike", row, column, visible(name), told)


def ages(table: pd.DataFrame) -> Iterator[Finding]:
    """Ages that nobody has; a blank age is no finding."""
    filled = table["age"].notna() & ~table["age"].map(is_missing)
    for row, age in zip(_rows(table[filled]), table.loc[filled, "age"], strict=True):
        if not AGES[0] <= age <= AGES[1]:
            told = f"outside of {AGES[0]:g} to {AGES[1]:g} years"
            yield Finding("labels out of range", int(row), "age", f"{age:g}", told)


def geometry(table: pd.DataFrame, looks: pd.DataFrame) -> Iterator[Finding]:
    """Scans whose spacing or field of view is unlike that of the others of their dataset and sequence.

    Both are compared axis by axis, sorted by length, so that the orientation on disk does not matter. Unlike
    means: larger or smaller than the median by more than a factor of 1.5, and by more than five robust
    standard deviations (1.4826 x the median absolute deviation) of the logarithm.
    """
    known = looks["shape"].notna().to_numpy()
    frame = table[known].assign(row=_rows(table)[known])
    shapes = np.array([list(shape) for shape in looks.loc[known, "shape"]], float).reshape(-1, 3)
    steps = np.array([list(step) for step in looks.loc[known, "spacing"]], float).reshape(-1, 3)
    measures = np.log(np.concatenate([np.sort(steps), np.sort(shapes * steps)], axis=1))
    for _, places in frame.groupby(["dataset", "modality"], sort=False).indices.items():
        if len(places) < _MANY:
            continue
        own = measures[places]
        middle = np.median(own, axis=0)
        spread = 1.4826 * np.median(np.abs(own - middle), axis=0)
        odd = (np.abs(own - middle) > np.maximum(np.log(_FACTOR), 5 * spread)).any(axis=1)
        usual = np.exp(middle)
        for place in places[odd]:
            row = frame.iloc[place]
            size = f"{_by(shapes[place])} voxels of {_by(steps[place])} mm"
            told = f"usual are voxels of {_by(usual[:3])} mm over {_by(usual[3:])} mm, sorted"
            yield Finding("shape or spacing unlike the others", int(row["row"]), "path", size, told)


def splits(table: pd.DataFrame, split: pd.Series, rows: pd.Series, file: str) -> Iterator[Finding]:
    """People with rows in several parts. `split`, `rows`: the part of every scan, and its line in `file`."""
    frame = pd.DataFrame(
        {"group": table["group"].to_numpy(), "split": split.to_numpy(), "row": rows.to_numpy()}
    )
    frame = frame[~frame["split"].isin(["", "none"])]
    first = frame.groupby("group")[["split", "row"]].transform("first").add_prefix("first_")
    odd = frame.join(first)[frame["split"] != first["first_split"]].drop_duplicates(["group", "split"])
    for row in records(odd):
        told = f"{row['group']} is in {row['first_split']} too (line {row['first_row']})"
        yield Finding("splits that share a person", row["row"], "split", row["split"], told, file)


def overlap(table: pd.DataFrame, seen: pd.Series, split: pd.Series | None) -> Iterator[Finding]:
    """People (or files) that a pretraining list names, once each."""
    frame = table.assign(row=_rows(table), split="" if split is None else split.to_numpy())
    for group, rows in frame[seen.to_numpy()].groupby("group", sort=False):
        parts = sorted(set(rows["split"]) - {"", "none"})
        where = f", in {' and '.join(parts)}" if parts else ""
        told = f"{len(rows)} scans{where}"
        yield Finding("seen in pretraining", int(rows["row"].iloc[0]), "group", str(group), told)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as dictionaries by column."""
    return [{str(column): cell for column, cell in row.items()} for row in table.to_dict("records")]


def _rows(table: pd.DataFrame | pd.Series) -> np.ndarray:
    """Line of each row in the manifest; a part of the table keeps its index."""
    return np.asarray(table.index) + 2


def _case(row: "pd.Series") -> str:
    return ":".join(str(row[column]) for column in IDENTITY if row[column])


def _by(values: np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
