"""Checks of a manifest: functions of tables that yield findings with row and column."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from braindino.datasets.cells import AGE_RANGE, is_missing, lookalikes, visible
from braindino.datasets.generic.labels import as_text
from braindino.datasets.generic.persons import MAX_AGE_SPAN
from braindino.datasets.manifest import IDENTITY, MASK
from braindino.datasets.sequences import UNKNOWN

_MIN_SCANS = 5  # of one dataset and sequence, to compare their geometry
_MIN_FACTOR = 1.5  # between a measure and the median, to be a finding


@dataclass(frozen=True)
class Finding:
    """An error in one cell.

    Attributes:
        check: name of the check, a key of `REMEDIES`.
        row: line of the file; the header is line 1.
        column: column of the cell.
        value: content of the cell.
        finding: the error.
        file: the file, or "" for the manifest.
    """

    check: str
    row: int
    column: str
    value: str
    finding: str
    file: str = ""


# Check -> remedy, in the order of the report.
REMEDIES = {
    "missing files": "fetch the file, correct the path, or remove the row",
    "unusable headers": "repair or convert the file, or remove the row; `prepare` will reject it",
    "rejected by the store": "repair the file and run `prepare` again, or remove the row",
    "people under two ids": "give both rows the same `group`, or remove one: the scan is the same",
    "ids that look alike": "write one spelling, or give the rows the same `group`, if they are of one person",
    "duplicate scans": "remove one of the rows",
    "contradictions": "correct the row: a person has one sex, an id one person, a case one label",
    "sequences missing": "add the scan, or probe with `--probe.missing drop` to exclude such cases",
    "several scans of a sequence": "use one per case (by default the first), or give different sessions",
    "labels missing": "fill the label in, or remove the row",
    "labels that look alike": "write one spelling; different spellings are different classes",
    "labels out of range": "correct the label, or leave it blank",
    "shape or spacing unlike the others": "look at the scan: cut off, another sequence, or a wrong header?",
    "splits that share a person": "put all rows of the person into one part",
    "split file": "correct the name, or add the row",
    "seen in pretraining": "exclude these people from the test part, or pretrain without them (`exclude`)",
}


def file_findings(table: pd.DataFrame, inspected: pd.DataFrame, rejects: dict[str, str]) -> Iterator[Finding]:
    """Yield missing files, unusable headers, and rejects of a store.

    Args:
        table: the table of a manifest.
        inspected: result of `inspect_files`.
        rejects: path -> reason.
    """
    columns = (_rows(table), table["path"], inspected["exists"], inspected["reason"])
    for row, path, exists, reason in zip(*columns, strict=True):
        if not exists:
            yield Finding("missing files", row, "path", path, "no such file")
        elif reason:
            yield Finding("unusable headers", row, "path", path, reason)
        elif path in rejects:
            yield Finding("rejected by the store", row, "path", path, rejects[path])


def duplicate_findings(
    table: pd.DataFrame, inspected: pd.DataFrame, split: pd.Series | None
) -> Iterator[Finding]:
    """Yield equal files: duplicates of one person, or scans of one person under two ids.

    Args:
        table: the table of a manifest.
        inspected: result of `inspect_files`.
        split: part of every scan, or None.
    """
    content = inspected["content"].to_numpy()
    frame = table.assign(row=_rows(table), content=content, split="" if split is None else split.to_numpy())
    for _, same in frame[frame["content"] != ""].groupby("content", sort=False):
        first = same.iloc[0]
        for copy in records(same.iloc[1:]):
            if copy["group"] == first["group"]:
                finding = f"the same content as line {first['row']}"
                yield Finding("duplicate scans", copy["row"], "path", copy["path"], finding)
                continue
            parts = {first["split"], copy["split"]} - {"", "none"}
            across = f", and they are in {' and '.join(sorted(parts))}" if len(parts) > 1 else ""
            finding = f"the same content as line {first['row']}, whose group is {first['group']}{across}"
            yield Finding("people under two ids", copy["row"], "group", copy["group"], finding)


def id_findings(table: pd.DataFrame) -> Iterator[Finding]:
    """Yield people of a dataset whose ids differ only in case, blanks or invisible characters."""
    frame = table.assign(row=_rows(table)).drop_duplicates(["dataset", "subject", "group"])
    for _, dataset in frame.groupby("dataset", sort=False):
        for first, *rest in lookalikes(dataset["subject"].astype(str)):
            people = dataset[dataset["subject"].astype(str).isin([first, *rest])].drop_duplicates("group")
            for row in records(people.iloc[1:]):
                problem = f"looks like {visible(first)!r} in line {people['row'].iloc[0]}"
                value = visible(str(row["subject"]))
                yield Finding("ids that look alike", int(row["row"]), "subject", value, problem)


def contradiction_findings(table: pd.DataFrame, targets: Sequence[str]) -> Iterator[Finding]:
    """Yield ids with two people, people with two sexes or ages, and cases with two labels.

    Args:
        table: the table of a manifest.
        targets: label columns.
    """
    frame = table.assign(row=_rows(table))
    pairs = [(["dataset", "subject"], "group"), (["group"], "sex")]
    for by, column in [*pairs, *((list(IDENTITY), name) for name in targets)]:
        filled = frame[~frame[column].map(is_missing)]
        first = filled.groupby(by)[[column, "row"]].transform("first")
        for at in filled.index[filled[column] != first[column]]:
            name = ":".join(str(filled.loc[at, name]) for name in by if filled.loc[at, name])
            problem = f"{name} has {first.loc[at, column]} in line {first.loc[at, 'row']}"
            value = str(filled.loc[at, column])
            yield Finding("contradictions", int(filled.loc[at, "row"]), column, value, problem)
    yield from _ages_apart(frame)


def _ages_apart(frame: pd.DataFrame) -> Iterator[Finding]:
    """Yield rows of a person whose age differs from that of another row of the same session."""
    aged = frame[frame["age"].between(*AGE_RANGE)]
    youngest = aged.sort_values("age", kind="stable").groupby(["group", "session"])[["age", "row"]]
    first = youngest.transform("first")
    for at in aged.index[aged["age"] - first["age"].reindex(aged.index) >= MAX_AGE_SPAN]:
        problem = f"{aged.loc[at, 'group']} has {first.loc[at, 'age']:g} in line {first.loc[at, 'row']:g}"
        row = int(aged.loc[at, "row"])
        yield Finding("contradictions", row, "age", f"{aged.loc[at, 'age']:g}", problem)


def sequence_findings(table: pd.DataFrame, required: Sequence[str] | None) -> Iterator[Finding]:
    """Yield cases that have a sequence twice, or lack a required one.

    Scans of unknown sequence are ignored.

    Args:
        table: the table of a manifest.
        required: sequences; None requires those that half of the cases of a dataset have.
    """
    scans = table.assign(row=_rows(table))
    scans = scans[~scans["modality"].isin([MASK, UNKNOWN])]
    for _, dataset in scans.groupby("dataset", sort=False):
        cases = dataset.groupby(list(IDENTITY), sort=False)
        usual = dataset.drop_duplicates([*IDENTITY, "modality"])["modality"].value_counts()
        expected = sorted(usual.index[usual * 2 >= cases.ngroups]) if required is None else list(required)
        for _, case in cases:
            present = list(case["modality"])
            lacking = [name for name in expected if name not in present]
            if lacking:
                problem = f"{_case_name(case.iloc[0])} lacks {', '.join(lacking)}"
                yield Finding(
                    "sequences missing",
                    int(case["row"].iloc[0]),
                    "modality",
                    ", ".join(dict.fromkeys(present)),
                    problem,
                )
            for at in case.index[case["modality"].duplicated()]:
                problem = f"{_case_name(case.iloc[0])} has another {case.loc[at, 'modality']}"
                row, name = int(case.loc[at, "row"]), str(case.loc[at, "modality"])
                yield Finding("several scans of a sequence", row, "modality", name, problem)


def label_findings(
    table: pd.DataFrame,
    column: str,
    classes: Sequence[str] = (),
    between: tuple[float, float] | None = None,
) -> Iterator[Finding]:
    """Yield labels that are blank, spelt in two ways, no class, no number, or out of range.

    Args:
        table: one row per case.
        column: column of the label.
        classes: names of the classes; none for numbers.
        between: lowest and highest number.
    """
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
            problem = f"{word!r} counts as missing; a class of that name must be listed"
            yield Finding("labels missing", row, column, "", "blank" if word in ("", "nan") else problem)
        elif classes:
            if cell not in classes:
                problem = f"none of {', '.join(classes)}"
                yield Finding("labels out of range", row, column, cell, problem)
        elif np.isnan(number):
            if mostly or between is not None:
                yield Finding("labels out of range", row, column, cell, "no finite number")
        elif between is not None and not between[0] <= number <= between[1]:
            problem = f"outside of {between[0]:g} to {between[1]:g}"
            yield Finding("labels out of range", row, column, cell, problem)


def _lookalikes(cells: pd.Series, column: str) -> Iterator[Finding]:
    """Yield labels that differ from a more frequent one only in ways that `fold` removes."""
    count = cells.value_counts()
    for group in lookalikes(count.index):
        usual, *rest = group
        for name in rest:
            problem = f"looks like {visible(usual)!r} ({count[usual]} so spelt, {count[name]} this way)"
            row = int(_rows(cells[cells == name])[0])
            yield Finding("labels that look alike", row, column, visible(name), problem)


def age_findings(table: pd.DataFrame) -> Iterator[Finding]:
    """Yield ages outside of `AGE_RANGE`; a blank age is no finding."""
    filled = table["age"].notna() & ~table["age"].map(is_missing)
    for row, age in zip(_rows(table[filled]), table.loc[filled, "age"], strict=True):
        if not AGE_RANGE[0] <= age <= AGE_RANGE[1]:
            problem = f"outside of {AGE_RANGE[0]:g} to {AGE_RANGE[1]:g} years"
            yield Finding("labels out of range", int(row), "age", f"{age:g}", problem)


def geometry_findings(table: pd.DataFrame, inspected: pd.DataFrame) -> Iterator[Finding]:
    """Yield scans whose spacing or field of view is unusual for their dataset and sequence.

    Both are compared axis by axis, sorted by length, so that the orientation on disk does not matter. A
    measure is unusual if it differs from the median by more than a factor of 1.5 and by more than five robust
    standard deviations (1.4826 x the median absolute deviation) of the logarithm.

    Args:
        table: the table of a manifest.
        inspected: result of `inspect_files`.
    """
    known = inspected["shape"].notna().to_numpy()
    frame = table[known].assign(row=_rows(table)[known])
    shapes = np.array([list(shape) for shape in inspected.loc[known, "shape"]], float).reshape(-1, 3)
    spacings = np.array([list(spacing) for spacing in inspected.loc[known, "spacing"]], float).reshape(-1, 3)
    measures = np.log(np.concatenate([np.sort(spacings), np.sort(shapes * spacings)], axis=1))
    for _, places in frame.groupby(["dataset", "modality"], sort=False).indices.items():
        if len(places) < _MIN_SCANS:
            continue
        group = measures[places]
        middle = np.median(group, axis=0)
        spread = 1.4826 * np.median(np.abs(group - middle), axis=0)
        odd = (np.abs(group - middle) > np.maximum(np.log(_MIN_FACTOR), 5 * spread)).any(axis=1)
        usual = np.exp(middle)
        for place in places[odd]:
            row = frame.iloc[place]
            size = f"{_by(shapes[place])} voxels of {_by(spacings[place])} mm"
            problem = f"usual are voxels of {_by(usual[:3])} mm over {_by(usual[3:])} mm, sorted"
            yield Finding("shape or spacing unlike the others", int(row["row"]), "path", size, problem)


def split_findings(table: pd.DataFrame, split: pd.Series, rows: pd.Series, file: str) -> Iterator[Finding]:
    """Yield people with rows in several parts.

    Args:
        table: the table of a manifest.
        split: part of every scan.
        rows: line of `file` that gives the part of every scan.
        file: the split file, or "" for the manifest.
    """
    frame = pd.DataFrame(
        {"group": table["group"].to_numpy(), "split": split.to_numpy(), "row": rows.to_numpy()}
    )
    frame = frame[~frame["split"].isin(["", "none"])]
    first = frame.groupby("group")[["split", "row"]].transform("first").add_prefix("first_")
    odd = frame.join(first)[frame["split"] != first["first_split"]].drop_duplicates(["group", "split"])
    for row in records(odd):
        problem = f"{row['group']} is in {row['first_split']} too (line {row['first_row']})"
        yield Finding("splits that share a person", row["row"], "split", row["split"], problem, file)


def overlap_findings(table: pd.DataFrame, seen: pd.Series, split: pd.Series | None) -> Iterator[Finding]:
    """Yield people whom a pretraining has seen, once each.

    Args:
        table: the table of a manifest.
        seen: per scan, True if it was seen.
        split: part of every scan, or None.
    """
    frame = table.assign(row=_rows(table), split="" if split is None else split.to_numpy())
    for group, rows in frame[seen.to_numpy()].groupby("group", sort=False):
        parts = sorted(set(rows["split"]) - {"", "none"})
        where = f", in {' and '.join(parts)}" if parts else ""
        problem = f"{len(rows)} scans{where}"
        yield Finding("seen in pretraining", int(rows["row"].iloc[0]), "group", str(group), problem)


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries by column."""
    return [{str(column): cell for column, cell in row.items()} for row in table.to_dict("records")]


def _rows(table: pd.DataFrame | pd.Series) -> np.ndarray:
    """Return the line in the manifest of each row of a table with its index."""
    return np.asarray(table.index) + 2


def _case_name(row: pd.Series) -> str:
    return ":".join(str(row[column]) for column in IDENTITY if row[column])


def _by(values: np.ndarray) -> str:
    return " x ".join(f"{value:.4g}" for value in values)
