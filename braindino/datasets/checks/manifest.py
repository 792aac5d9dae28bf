"""Runs every check of a manifest that there is something to check with, and says which were not run."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from braindino.datasets import DATASETS, dataset_class
from braindino.datasets.checks import rules as findings
from braindino.datasets.checks.files import inspect_files
from braindino.datasets.checks.rules import Finding, records
from braindino.datasets.generic.labels import ClassName, class_names
from braindino.datasets.manifest import IDENTITY, MASK, Manifest, label_column
from braindino.datasets.splits import PARTS
from braindino.datasets.tables import read_table
from braindino.errors import BraindinoError
from braindino.scans.store.store import Store


@dataclass
class Report:
    """What was found in a manifest of so many scans, cases and people, and what could not be looked for."""

    scans: int
    cases: int
    people: int
    findings: list[Finding] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Pretraining:
    """What a pretraining has seen, by a list or by what an encoder records.

    Attributes:
        rows: takes a manifest's table and the digests of each scan, returns per row whether it was seen.
        by_content: whether scans are compared, which takes reading them.
        gaps: why more may have been seen.
    """

    rows: Callable[[pd.DataFrame, Sequence[Collection[str]]], pd.Series]
    by_content: bool
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelRule:
    """What a label column of a dataset (or of all) may hold; nothing given: anything that is there."""

    column: str
    classes: tuple[ClassName, ...] = ()
    between: tuple[float, float] | None = None
    dataset: str = ""


def check_manifest(
    csv: Path,
    store: Store | None = None,
    split_file: Path | None = None,
    seen: Pretraining | None = None,
    rules: Sequence[LabelRule] | None = None,
    modalities: Sequence[str] | None = None,
    progress: bool = True,
) -> Report:
    """Check a manifest.

    What was seen of the files is kept in `.<stem>.check/` beside the manifest, so the next check, or this one
    after an interruption, looks only at what is new.

    Args:
        csv: the manifest.
        store: tells contents without reading files, and what it rejected.
        split_file: table with `case` or `group`, and `split`; by default the manifest's own column `split`.
        seen: what a pretraining has seen.
        rules: labels to check; by default what the registered datasets have as target, else `label`.
        modalities: that each case should have; by default those that half of the dataset's cases have.
        progress: show a bar, or lines where output goes to a file.

    Raises:
        ManifestError: not a manifest.
        BraindinoError: an unknown column, a split file that is none.
    """
    table = Manifest.read(csv).table
    cases = table[[*IDENTITY]].drop_duplicates()
    report = Report(len(table), len(cases), int(table["group"].nunique()))
    found = report.findings
    # What was asked for is looked at first: the files may take long.
    rules = (
        _known_rules(table)
        if rules is None
        else [replace(rule, column=label_column(table, rule.column)) for rule in rules]
    )
    for rule in rules:
        if rule.column not in table:
            near = get_close_matches(rule.column, [str(name) for name in table.columns], 1, 0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise BraindinoError(f"{csv}: no label column {rule.column!r}.{hint}")
    split, rows, unmatched = _split_of(table, csv, split_file)
    try:
        memory = csv.with_name(f".{csv.stem}.check")
        looks = inspect_files(table, memory, store, progress, seen is not None and seen.by_content)
    except PermissionError as error:
        raise BraindinoError(
            f"{csv.parent}: what was seen of the files cannot be kept there ({error})."
        ) from error
    rejected = [] if store is None else records(store.rejects())
    rejects = {str(row["path"]): str(row["reason"]) for row in rejected}
    found += findings.files(table, looks, rejects)
    found += findings.duplicates(table, looks, split)
    found += findings.ids(table)
    found += findings.sequences(table, modalities)
    labelled = table[table["modality"] != MASK].drop_duplicates(list(IDENTITY))  # one row per case
    for rule in rules:
        own = labelled[labelled["dataset"] == rule.dataset] if rule.dataset else labelled
        classes = class_names(table[rule.column], rule.classes, csv)
        found += findings.labels(own, rule.column, classes, rule.between)
    found += findings.contradictions(table, sorted({rule.column for rule in rules}))
    found += findings.ages(table)
    found += findings.geometry(table, looks)
    found += unmatched
    if split is not None and rows is not None:
        where = "" if split_file is None else str(split_file)
        found += findings.splits(table, split, rows, where)
    if seen is not None:
        found += findings.overlap(table, seen.rows(table, list(looks["digests"])), split)
        report.not_checked += [f"people whom pretraining saw beyond its list ({gap})" for gap in seen.gaps]
    for missing, what in (
        (not rules, "labels (give --label COLUMN)"),
        (split is None, "splits (give --split FILE)"),
        (seen is None, "overlap with pretraining (give --pretraining LIST or encoder)"),
    ):
        if missing:
            report.not_checked.append(what)
    return report


def _known_rules(table: pd.DataFrame) -> list[LabelRule]:
    """The targets of the datasets that are registered by the names in the table, else `label`."""
    rules = []
    for name in sorted(set(table["dataset"]) & set(DATASETS)):
        module = dataset_class(name)
        classes = module.classes if len(module.target) == 1 else ()
        there = [column for column in module.target if column in table]
        rules += [LabelRule(column, classes, dataset=name) for column in there]
    usual = label_column(table, "label")
    if not rules and usual in table:
        rules = [LabelRule(usual)]
    return rules


def _split_of(
    table: pd.DataFrame, csv: Path, file: Path | None
) -> tuple[pd.Series | None, pd.Series | None, list[Finding]]:
    """The part of every scan ("" when it has none), the line that says so, and names that do not match."""
    lines = pd.Series(range(2, len(table) + 2), index=table.index)
    if file is None:
        return (table["split"].astype(str).str.lower(), lines, []) if "split" in table else (None, None, [])
    own = read_table(file, {"split": ("split",)}, {"case": ("case",), "group": ("group",)})
    by = "case" if "case" in own else "group"
    if by not in own:
        raise BraindinoError(f"{file}: needs the column `split` and one of `case` and `group` (a person).")
    own = own.assign(split=own["split"].str.lower().replace("", "none"), row=range(2, len(own) + 2))
    found = [
        Finding(
            "split file", row["row"], "split", row["split"], f"none of {', '.join(PARTS)}, none", str(file)
        )
        for row in records(own[~own["split"].isin([*PARTS, "none"])])
    ]
    names = table["group"]
    if by == "case":
        cases = [":".join(filter(None, map(str, row.values()))) for row in records(table[list(IDENTITY)])]
        names = pd.Series(cases, index=table.index)
    twice = own[own.duplicated([by]) & ~own.duplicated([by, "split"])]
    found += [
        Finding("splits that share a person", row["row"], by, row[by], "has two splits", str(file))
        for row in records(twice)
    ]
    first = own.drop_duplicates(by).set_index(by)
    if not own[by].isin(set(names)).any():
        raise BraindinoError(
            f"{file}: no {by} of it is in the manifest; {own[by].iloc[0]!r} there, {names.iloc[0]!r} here."
        )
    absent = pd.DataFrame({"name": names, "row": lines})[~names.isin(first.index)].drop_duplicates("name")
    found += [
        Finding("split file", row["row"], by, row["name"], f"has no row in {file}") for row in records(absent)
    ]
    return names.map(first["split"]).fillna(""), names.map(first["row"]).fillna(0).astype(int), found
