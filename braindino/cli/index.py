"""The verb `index`: write a dataset's manifest and print its counts."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindino.errors import BraindinoError

if TYPE_CHECKING:
    import pandas as pd

    from braindino.verbs.index import IndexedManifest

MAX_REASONS = 8  # reasons of blank cells, and suffixes of other files, that are printed


def index(
    root: Path, dataset: str = "folder", out: Path | None = None, options: dict[str, Any] | None = None
) -> int:
    """Read a dataset in its native layout and write its manifest: one row per scan, in a CSV.

    Nothing is changed, and only names and tables are read. Excluded files are listed with their reasons in
    <out>.dropped.csv. DICOM series (of adni and folder) are converted by dcm2niix into <out>_nifti/, one
    volume each; series.csv there lists the source of each volume.

    Args:
        root: the dataset's folder, as its owners distribute it; for cohort also the table itself.
        dataset: name of the dataset: abide, adni, atlas, brain_age, brats2021, brats2023, brats2024_goat,
            ixi, long579, oasis, pixar, ucsf_pdgm, upenn_gbm; cohort for a table of your own; folder or bids
            for any other scans (no labels); or the dotted path of a class of your own.
        out: manifest to write; by default <dataset>.csv in the current folder.
        options: options of the dataset, such as `--options.target diagnosis --options.id patient`.
    """
    from braindino.verbs.index import index as run

    out = Path(out) if out is not None else Path(f"{dataset}.csv")
    manifest = run(root, dataset, out, options=_parse_options(root, dataset, options or {}))
    dropped = out.with_name(f"{out.stem}.dropped.csv")
    print("\n".join([*_summary(manifest), f"wrote {out} and {dropped.name}"]))
    return 0


def _parse_options(root: Path, dataset: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options, converted to the types of the dataset's arguments."""
    from jsonargparse import ArgumentError, ArgumentParser

    from braindino.cli.config.messages import readable
    from braindino.datasets import dataset_class
    from braindino.datasets.options import check_option_names

    dataset_type = dataset_class(dataset)
    check_option_names(dataset_type, options)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(dataset_type)
    try:
        parsed = parser.parse_object({"root": str(root), **options})
    except ArgumentError as error:
        raise BraindinoError(f"index: {dataset_type.name}, options: {readable(str(error))}") from None
    return {name: parsed[name] for name in options}


def _summary(manifest: "IndexedManifest") -> list[str]:
    """Return lines with the numbers of scans, of labels, of blank cells and of dropped files."""
    table = manifest.table
    cases = table[["dataset", "subject", "session"]].drop_duplicates()
    lines = [
        f"{manifest.dataset}: {len(table)} scans, {len(cases)} cases, {table['group'].nunique()} people",
        _counts("modality", table["modality"].value_counts()),
    ]
    if len(set(table["dataset"])) > 1:
        lines.append(_counts("dataset", table["dataset"].value_counts()))
    if manifest.label_counts:
        lines.append(_counts(manifest.target[0], manifest.label_counts))
    if "label_source" in table:
        lines.append(_counts("label from", table["label_source"].value_counts()))
    lines += _blanks(manifest)
    reasons = manifest.dropped["reason"].value_counts()
    lines.append(f"dropped     {len(manifest.dropped)}" + (":" if len(reasons) else ""))
    lines += [f"  {count:>8}  {reason}" for reason, count in reasons.items()]
    if manifest.passed_over:
        suffixes = Counter(Path(path).suffix or Path(path).name for path in manifest.passed_over)
        kinds = ", ".join(f"{suffix} {count}" for suffix, count in suffixes.most_common(MAX_REASONS))
        lines.append(f"no scans    {len(manifest.passed_over)} other files: {kinds}")
    return lines


def _blanks(manifest: "IndexedManifest") -> list[str]:
    """Return lines with the reasons why cells are blank although a table has a value."""
    from braindino.datasets.manifest import NOTE

    if NOTE not in manifest.table:
        return []
    reasons = manifest.table[NOTE].str.split("; ").explode()
    counts = reasons[reasons != ""].value_counts()
    if counts.empty:
        return []
    lines = [f"blank       {counts.sum()} (column {NOTE}):"]
    lines += [f"  {count:>8}  {reason}" for reason, count in counts.head(MAX_REASONS).items()]
    if len(counts) > MAX_REASONS:
        lines.append(f"            ... and {len(counts) - MAX_REASONS} more reasons")
    return lines


def _counts(title: str, counts: "dict[str, int] | pd.Series[int]") -> str:
    return f"{title:<11} " + ", ".join(f"{name} {count}" for name, count in counts.items())
