"""Check a manifest and return the errors, cell by cell."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from braindino.csv_text import csv_text
from braindino.datasets.checks.manifest import CheckReport, LabelRule, Pretraining, check_manifest
from braindino.datasets.generic.labels import ClassName
from braindino.datasets.pretraining.exclude import find_excluded, has_scans
from braindino.errors import BraindinoError
from braindino.files import atomic_write
from braindino.scans.seen import Seen
from braindino.scans.store.store import Store


def check(
    manifest: Path | str,
    out: Path | str | None = None,
    *,
    store: Path | str | None = None,
    split: Path | str | None = None,
    pretraining: Path | str | None = None,
    label: str | Sequence[str] | None = None,
    classes: Sequence[ClassName] | None = None,
    between: tuple[float, float] | None = None,
    modalities: str | Sequence[str] | None = None,
    progress: bool = True,
) -> CheckReport:
    """Check files, people, labels, sequences, shapes and splits of a manifest.

    Only headers are read, and files of equal size; with `pretraining` all files whose content the store does
    not contain. Results of reading are cached beside the manifest.

    Args:
        manifest: table from `index`.
        out: CSV to write the findings to. If omitted, nothing is written.
        store: folder of a store; it contains digests of prepared scans, and rejects.
        split: table with the columns `case` or `group`, and `split`; by default that of the manifest.
        pretraining: an encoder (export, run folder, checkpoint), its pretraining_people.txt, the cases.csv of
            a probe, or a table with a column `group` or `path`.
        label: column(s) of the label; by default the targets of registered datasets, or `label`.
        classes: names of the classes.
        between: lowest and highest number that the label may be.
        modalities: sequences that each case should have; by default those that at least half of the
            dataset's cases have.
        progress: False shows no progress bar.

    Returns:
        The findings, with the numbers of scans, cases and people, and the checks that were not made.

    Raises:
        BraindinoError: not a manifest, an unknown column, a wrong split file, an encoder that does not record
            the people it was pretrained on, or `out` is a folder.
    """
    if out is not None and Path(out).is_dir():
        raise BraindinoError(f"{out}: is a folder; give --out the name of a file.")
    if (classes is not None or between is not None) and label is None:
        raise BraindinoError("check: --classes and --between are about a label; name it with --label.")
    if between is not None and between[0] > between[1]:
        raise BraindinoError(f"check: --between {list(between)}: expected the lower number first.")
    columns = [label] if isinstance(label, str) else label
    report = check_manifest(
        Path(manifest),
        None if store is None else Store.open(store),
        None if split is None else Path(split),
        None if pretraining is None else _read_pretraining(Path(pretraining)),
        None if columns is None else [LabelRule(column, tuple(classes or ()), between) for column in columns],
        [modalities] if isinstance(modalities, str) else modalities,
        progress,
    )
    if out is not None:
        with atomic_write(Path(out)) as file:
            file.write(csv_text(report.table()))
    return report


def _read_pretraining(source: Path) -> Pretraining:
    """Return the people and scans that a pretraining has seen, from an encoder or a list."""
    from braindino.encoders.checkpoints import PEOPLE_FILE, load_encoder

    if not source.exists():
        raise BraindinoError(f"{source}: no such list or encoder.")
    listed = source / PEOPLE_FILE if (source / PEOPLE_FILE).is_file() else source
    if listed.is_file() and listed.name == PEOPLE_FILE:
        seen: Seen | None = Seen.read(listed)
    elif listed.is_file() and listed.suffix != ".ckpt":
        return Pretraining(
            lambda table, digests: find_excluded(listed, table, digests).rows, has_scans(listed)
        )
    else:
        seen = load_encoder(str(source)).seen
    if seen is None:
        raise BraindinoError(
            f"{source}: the encoder does not record the people it was pretrained on; give a list."
        )
    return _from_record(seen)


def _from_record(seen: Seen) -> Pretraining:
    """Return a `Pretraining` from the record of an encoder."""

    def rows(table: pd.DataFrame, digests: Sequence[Collection[str]]) -> pd.Series:
        people = seen.people_among(table["group"])
        people |= set(table.loc[[bool(seen.scans.intersection(names)) for names in digests], "group"])
        return table["group"].isin(people)

    return Pretraining(rows, bool(seen.scans), seen.gaps)
