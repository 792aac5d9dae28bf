"""Check files, people, labels, sequences, shapes and splits of a manifest."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from braindino.datasets import DATASETS, dataset_class
from braindino.datasets.checks import rules
from braindino.datasets.checks.files import inspect_files
from braindino.datasets.checks.rules import Finding, records
from braindino.datasets.generic.labels import ClassName, class_names
from braindino.datasets.manifest import IDENTITY, MASK, Manifest, label_column
from braindino.datasets.splits import PARTS
from braindino.datasets.tables import read_table
from braindino.errors import BraindinoError
from braindino.scans.store.store import Store


@dataclass
class CheckReport:
    """Result of checking a manifest.

    Attributes:
        scans: number of rows.
        cases: number of cases.
        people: number of people.
        findings: errors, by check.
        not_checked: checks that were not run, with the option that each needs.
    """

    scans: int
    cases: int
    people: int
    findings: list[Finding] = field(default_factory=list)
    not_checked: list[str] = field(default_factory=list)

    def table(self) -> pd.DataFrame:
        """Return the findings as a table: check, file, row, column, value, finding, remedy."""
        columns = ["check", "file", "row", "column", "value", "finding", "remedy"]
        rows = [
            [
                each.check,
                each.file,
                each.row,
                each.column,
                each.value,
                each.finding,
                rules.REMEDIES[each.check],
            ]
            for each in self.findings
        ]
        return pd.DataFrame(rows, columns=columns, dtype=object)


@dataclass(frozen=True)
class Pretraining:
    """People and scans that a pretraining has seen, from a list or recorded by an encoder.

    Attributes:
        rows: maps a manifest's table and the digests of each scan to a bool per row, True if it was seen.
        by_content: scans are compared by content, which requires reading them.
        gaps: reasons why the list may be incomplete.
    """

    rows: Callable[[pd.DataFrame, Sequence[Collection[str]]], pd.Series]
    by_content: bool
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelRule:
    """Values that a label column may have; any value without `classes` and `between`.

    Attributes:
        column: a column of the manifest.
        classes: names of the classes.
        between: lowest and highest number.
        dataset: rows that the rule applies to; all if empty.
    """

    column: str
    classes: tuple[ClassName, ...] = ()
    between: tuple[float, float] | None = None
    dataset: str = ""


class _Split(NamedTuple):
    """Split of a manifest's scans; `parts` and `lines` are None without a split.

    Attributes:
        parts: per scan, its part, or "" without one.
        lines: per scan, the line of the file that gives the part.
        findings: errors of the split file.
    """

    parts: pd.Series | None
    lines: pd.Series | None
    findings: list[Finding]


def check_manifest(
    csv: Path,
    store: Store | None = None,
    split_file: Path | None = None,
    seen: Pretraining | None = None,
    label_rules: Sequence[LabelRule] | None = None,
    modalities: Sequence[str] | None = None,
    progress: bool = True,
) -> CheckReport:
    """Check a manifest.

    Results of reading files are cached in `.<stem>.check/` beside the manifest, so that the next check, or
    the same one after an interruption, reads new files only.

    Args:
        csv: the manifest.
        store: store with the digests of prepared scans, and rejects.
        split_file: table with `case` or `group`, and `split`; by default the manifest's column `split`.
        seen: people and scans that a pretraining has seen.
        label_rules: labels to check; by default the targets of registered datasets, else `label`.
        modalities: required in each case; by default those that half of the dataset's cases have.
        progress: show a bar, or lines if output goes to a file.

    Raises:
        ManifestError: not a manifest.
        BraindinoError: an unknown column, or a wrong split file.
    """
    table = Manifest.read(csv).table
    report = CheckReport(len(table), len(table[[*IDENTITY]].drop_duplicates()), int(table["group"].nunique()))
    # Options are checked before files, which may take long.
    label_rules = _rules_of(table, csv, label_rules)
    split = _split_of(table, csv, split_file)
    inspected = _inspect(table, csv, store, progress, seen is not None and seen.by_content)
    rejected = [] if store is None else records(store.rejects())
    rejects = {str(row["path"]): str(row["reason"]) for row in rejected}

    report.findings += rules.file_findings(table, inspected, rejects)
    report.findings += rules.duplicate_findings(table, inspected, split.parts)
    report.findings += rules.id_findings(table)
    report.findings += rules.sequence_findings(table, modalities)
    report.findings += _label_findings(table, csv, label_rules)
    report.findings += rules.contradiction_findings(table, sorted({rule.column for rule in label_rules}))
    report.findings += rules.age_findings(table)
    report.findings += rules.geometry_findings(table, inspected)
    report.findings += split.findings
    if split.parts is not None and split.lines is not None:
        file = "" if split_file is None else str(split_file)
        report.findings += rules.split_findings(table, split.parts, split.lines, file)
    if seen is not None:
        rows = seen.rows(table, list(inspected["digests"]))
        report.findings += rules.overlap_findings(table, rows, split.parts)
        report.not_checked += [f"people whom pretraining saw beyond its list ({gap})" for gap in seen.gaps]
    missing_options = {
        "labels (give --label COLUMN)": not label_rules,
        "splits (give --split FILE)": split.parts is None,
        "overlap with pretraining (give --pretraining LIST or encoder)": seen is None,
    }
    report.not_checked += [check for check, is_missing in missing_options.items() if is_missing]
    return report


def _rules_of(table: pd.DataFrame, csv: Path, given: Sequence[LabelRule] | None) -> list[LabelRule]:
    """Return the rules with columns of the manifest; raise BraindinoError if one is unknown."""
    if given is None:
        label_rules = _default_rules(table)
    else:
        label_rules = [replace(rule, column=label_column(table, rule.column)) for rule in given]
    for rule in label_rules:
        if rule.column not in table:
            near = get_close_matches(rule.column, [str(name) for name in table.columns], 1, 0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise BraindinoError(f"{csv}: no label column {rule.column!r}.{hint}")
    return label_rules


def _default_rules(table: pd.DataFrame) -> list[LabelRule]:
    """Return the targets of the registered datasets in the table, else a rule for `label`."""
    label_rules = []
    for name in sorted(set(table["dataset"]) & set(DATASETS)):
        module = dataset_class(name)
        classes = module.classes if len(module.target) == 1 else ()
        columns = [column for column in module.target if column in table]
        label_rules += [LabelRule(column, classes, dataset=name) for column in columns]
    usual = label_column(table, "label")
    if not label_rules and usual in table:
        label_rules = [LabelRule(usual)]
    return label_rules


def _inspect(
    table: pd.DataFrame, csv: Path, store: Store | None, progress: bool, all_contents: bool
) -> pd.DataFrame:
    """Inspect the files of a manifest with a cache beside it; see `inspect_files`."""
    try:
        return inspect_files(table, csv.with_name(f".{csv.stem}.check"), store, progress, all_contents)
    except PermissionError as error:
        raise BraindinoError(f"{csv.parent}: results of the check cannot be cached ({error}).") from error


def _label_findings(table: pd.DataFrame, csv: Path, label_rules: Sequence[LabelRule]) -> list[Finding]:
    """Return the findings of all label rules, one row per case."""
    labelled = table[table["modality"] != MASK].drop_duplicates(list(IDENTITY))
    findings: list[Finding] = []
    for rule in label_rules:
        rows = labelled[labelled["dataset"] == rule.dataset] if rule.dataset else labelled
        classes = class_names(table[rule.column], rule.classes, csv)
        findings += rules.label_findings(rows, rule.column, classes, rule.between)
    return findings


def _split_of(table: pd.DataFrame, csv: Path, file: Path | None) -> _Split:
    """Return the split by a file, or by the manifest's column `split`."""
    lines = pd.Series(range(2, len(table) + 2), index=table.index)
    if file is None:
        if "split" in table:
            return _Split(table["split"].astype(str).str.lower(), lines, [])
        return _Split(None, None, [])
    parts = read_table(file, {"split": ("split",)}, {"case": ("case",), "group": ("group",)})
    by = "case" if "case" in parts else "group"
    if by not in parts:
        raise BraindinoError(f"{file}: needs the column `split` and one of `case` and `group` (a person).")
    parts = parts.assign(split=parts["split"].str.lower().replace("", "none"), row=range(2, len(parts) + 2))
    names = table["group"]
    if by == "case":
        cases = [":".join(filter(None, map(str, row.values()))) for row in records(table[list(IDENTITY)])]
        names = pd.Series(cases, index=table.index)
    if not parts[by].isin(set(names)).any():
        raise BraindinoError(
            f"{file}: no {by} matches the manifest; {parts[by].iloc[0]!r} in the file, {names.iloc[0]!r} in "
            "the manifest."
        )
    first = parts.drop_duplicates(by).set_index(by)
    absent = pd.DataFrame({"name": names, "row": lines})[~names.isin(first.index)].drop_duplicates("name")
    findings = _split_file_findings(parts, by, file)
    findings += [
        Finding("split file", row["row"], by, row["name"], f"has no row in {file}") for row in records(absent)
    ]
    return _Split(
        names.map(first["split"]).fillna(""), names.map(first["row"]).fillna(0).astype(int), findings
    )


def _split_file_findings(parts: pd.DataFrame, by: str, file: Path) -> list[Finding]:
    """Return unknown splits of a split file, and names with two splits."""
    unknown = f"none of {', '.join(PARTS)}, none"
    findings = [
        Finding("split file", row["row"], "split", row["split"], unknown, str(file))
        for row in records(parts[~parts["split"].isin([*PARTS, "none"])])
    ]
    twice = parts[parts.duplicated([by]) & ~parts.duplicated([by, "split"])]
    findings += [
        Finding("splits that share a person", row["row"], by, row[by], "has two splits", str(file))
        for row in records(twice)
    ]
    return findings
