"""The verb `check`: print the errors of a manifest, cell by cell, with the remedy of each."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from braindino.datasets.checks.manifest import CheckReport

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
    """Check files, people, labels, sequences, shapes and splits of a manifest.

    Only headers are read, and files of equal size; with `pretraining` all files whose content the store does
    not contain. Results of reading are cached beside the manifest, so that the same command continues after
    an interruption.

    Args:
        manifest: the table that `braindino index` wrote.
        store: the folder of a store; it contains digests of prepared scans, and rejects.
        split: table with the columns `case` or `group`, and `split`; by default the manifest's own column.
        pretraining: an encoder (export, run folder, checkpoint), its pretraining_people.txt, the cases.csv of
            a probe, or a table with a column `group` or `path`. People match by their keys and by the content
            of their scans.
        label: column of the label, or several, as `[time,event]`; by default the targets of registered
            datasets, or `label`.
        classes: names of the classes, as `[CN,MCI,AD]`.
        between: lowest and highest number that the label may be, as `[0,100]`.
        modalities: sequences that each case should have, as `[T1w,FLAIR]`; by default those that at least
            half of the dataset's cases have.
        out: CSV to write the findings to.
        all: show every finding, not the first few of each check.
        strict: exit with code 1 if there are findings.

    Returns:
        0, or with `strict` 1 if there are findings.
    """
    from braindino.verbs.check import check as run

    report = run(
        manifest,
        out,
        store=store,
        split=split,
        pretraining=pretraining,
        label=label,
        classes=classes,
        between=between,
        modalities=modalities,
    )
    print("\n".join(_lines(manifest, report, all)))
    if out is not None:
        print(f"wrote {out}")
    return 1 if strict and report.findings else 0


def _lines(manifest: Path, report: "CheckReport", everything: bool) -> list[str]:
    """Return the report as lines: counts first, then the findings by check, `SHOWN` of each."""
    from braindino.datasets.checks.rules import REMEDIES

    by_check = {name: [each for each in report.findings if each.check == name] for name in REMEDIES}
    by_check = {name: findings for name, findings in by_check.items() if findings}
    total = len(report.findings)
    lines = [
        f"{manifest}: {report.scans} scans, {report.cases} cases, {report.people} people; "
        + (f"{total} findings" if total != 1 else "1 finding")
    ]
    lines += [f"  {len(findings):>8}  {name}" for name, findings in by_check.items()]
    for name, findings in by_check.items():
        lines += ["", f"{name}: {REMEDIES[name]}"]
        for finding in findings if everything else findings[:SHOWN]:
            line = f"line {finding.row}, {finding.column}"
            place = f"{finding.file}, {line}" if finding.file else line
            error = f" - {finding.finding}" if finding.value else ""
            lines.append(f"  {place}: {finding.value or finding.finding}{error}")
        if len(findings) > SHOWN and not everything:
            lines.append(f"  ... and {len(findings) - SHOWN} more (--all shows them)")
    if report.not_checked:
        lines += ["", f"not checked: {'; '.join(report.not_checked)}"]
    return lines
