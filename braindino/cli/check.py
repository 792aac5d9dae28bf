"""The verb `check`: what is wrong with a manifest, cell by cell, with what to do about it."""

from pathlib import Path
from typing import TYPE_CHECKING

from braindino.errors import BraindinoError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd

    from braindino.datasets.checks.manifest import LabelRule, Pretraining, Report
    from braindino.datasets.generic.labels import ClassName
    from braindino.scans.seen import Seen

SHOWN = 5  # findings per check, without --all


def check(
    manifest: Path,
    store: Path | None = None,
    split: Path | None = None,
    pretraining: Path | None = None,
    label: str | list[str] | None = None,
    classes: list[str | int | float | bool | None] | None = None,
    between: tuple[float, float] | None = None,
    modalities: str | list[str] | None = None,
    out: Path | None = None,
    all: bool = False,
    strict: bool = False,
) -> int:
    """Check a manifest: files, duplicates, people, labels, sequences, shapes, splits, pretraining.

    Only headers are read, and files whose size another one shares; with `pretraining` all those that the
    store does not know. What was seen is remembered beside the manifest. Can be interrupted at any time: the
    same command again goes on.

    Args:
        manifest: the table that `braindino index` wrote.
        store: the folder of a store: tells contents without reading files, and what it rejected.
        split: table with the columns `case` or `group`, and `split`; by default the manifest's own column.
        pretraining: an encoder (export, run folder, checkpoint), its pretraining_people.txt, the cases.csv of
            a probe, or a table with a column `group` or `path`. People match by their keys and by the content
            of their scans.
        label: column of the label, or several, as `[time,event]`; by default what the dataset is known for,
            or `label`.
        classes: what the label may be, as `[CN,MCI,AD]`.
        between: lowest and highest number that the label may be, as `[0,100]`.
        modalities: sequences that each case should have, as `[T1w,FLAIR]`; by default those that at least
            half of the dataset's cases have.
        out: CSV to write the findings to.
        all: show every finding, not the first few of each check.
        strict: exit with code 1 when something was found.

    Returns:
        0, or with `strict` 1 when something was found.
    """
    from braindino.datasets.checks.manifest import check_manifest
    from braindino.scans.store.store import Store

    if (classes is not None or between is not None) and label is None:
        raise BraindinoError("check: --classes and --between are about a label; name it with --label.")
    if between is not None and between[0] > between[1]:
        raise BraindinoError(f"check: --between {list(between)}: expected the lowest number first.")
    if out is not None and Path(out).is_dir():
        raise BraindinoError(f"{out}: is a folder; give --out the name of a file.")
    report = check_manifest(
        Path(manifest),
        None if store is None else Store.open(store),
        split,
        None if pretraining is None else _seen(Path(pretraining)),
        _rules([label] if isinstance(label, str) else label, classes, between),
        [modalities] if isinstance(modalities, str) else modalities,
    )
    print("\n".join(text(manifest, report, all)))
    if out is not None:
        _write(out, report)
        print(f"wrote {out}")
    return 1 if strict and report.findings else 0


def text(manifest: Path, report: "Report", everything: bool) -> list[str]:
    """The report for a person: counts first, then the findings by check, `SHOWN` of each."""
    from braindino.datasets.checks.rules import REMEDIES

    by_check = {name: [f for f in report.findings if f.check == name] for name in REMEDIES}
    by_check = {name: found for name, found in by_check.items() if found}
    total = len(report.findings)
    lines = [
        f"{manifest}: {report.scans} scans, {report.cases} cases, {report.people} people; "
        + (f"{total} findings" if total != 1 else "1 finding")
    ]
    lines += [f"  {len(found):>8}  {name}" for name, found in by_check.items()]
    for name, found in by_check.items():
        lines += ["", f"{name}: {REMEDIES[name]}"]
        for finding in found if everything else found[:SHOWN]:
            where = f"{finding.file + ', ' if finding.file else ''}line {finding.row}, {finding.column}"
            told = f" - {finding.finding}" if finding.value else ""
            lines.append(f"  {where}: {finding.value or finding.finding}{told}")
        if len(found) > SHOWN and not everything:
            lines.append(f"  ... and {len(found) - SHOWN} more (--all shows them)")
    if report.not_checked:
        lines += ["", f"not checked: {'; '.join(report.not_checked)}"]
    return lines


def _rules(
    label: list[str] | None, classes: "list[ClassName] | None", between: tuple[float, float] | None
) -> "list[LabelRule] | None":
    from braindino.datasets.checks.manifest import LabelRule

    if label is None:
        return None
    return [LabelRule(column, tuple(classes or ()), between) for column in label]


def _seen(source: Path) -> "Pretraining":
    """What a pretraining has seen, by an encoder or by a list."""
    from braindino.datasets.checks.manifest import Pretraining
    from braindino.datasets.pretraining.exclude import find_excluded, has_scans
    from braindino.encoders.checkpoints import PEOPLE, load_encoder
    from braindino.scans.seen import Seen

    if not source.exists():
        raise BraindinoError(f"{source}: no such list or encoder.")
    listed = source / PEOPLE if (source / PEOPLE).is_file() else source
    if listed.is_file() and listed.name == PEOPLE:
        seen: Seen | None = Seen.read(listed)
    elif listed.is_file() and listed.suffix != ".ckpt":
        return Pretraining(
            lambda table, digests: find_excluded(listed, table, digests).rows, has_scans(listed)
        )
    else:
        seen = load_encoder(str(source)).seen
    if seen is None:
        raise BraindinoError(f"{source}: the encoder does not record whom it was pretrained on; give a list.")
    return _recorded(seen)


def _recorded(seen: "Seen") -> "Pretraining":
    from braindino.datasets.checks.manifest import Pretraining

    def rows(table: "pd.DataFrame", digests: "Sequence[Collection[str]]") -> "pd.Series":
        people = seen.people_among(table["group"])
        people |= set(table.loc[[bool(seen.scans.intersection(each)) for each in digests], "group"])
        return table["group"].isin(people)

    return Pretraining(rows, bool(seen.scans), seen.gaps)


def _write(out: Path, report: "Report") -> None:
    import pandas as pd

    from braindino.csv_text import csv_text
    from braindino.datasets.checks.rules import REMEDIES
    from braindino.files import atomic_write

    with atomic_write(out) as file:
        rows = [
            [f.check, f.file, f.row, f.column, f.value, f.finding, REMEDIES[f.check]] for f in report.findings
        ]
        columns = ["check", "file", "row", "column", "value", "finding", "remedy"]
        file.write(csv_text(pd.DataFrame(rows, columns=columns, dtype=object)))
