"""The verb `index`: a dataset's folder in, its manifest out, with counts of what was taken and what not."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindino.errors import BraindinoError
from braindino.files import describe_special_file

SHOWN = 8  # reasons for blanks

if TYPE_CHECKING:
    import pandas as pd

    from braindino.datasets.datamodule import ScanDataModule
    from braindino.datasets.manifest import Manifest


def index(
    root: Path, dataset: str = "folder", out: Path | None = None, options: dict[str, Any] | None = None
) -> int:
    """Read a dataset as it lies on the disk and write its manifest: one row per scan, in a CSV.

    Nothing is changed, and only names and tables are read. What is not taken is listed with its reason in
    <out>.dropped.csv. DICOM series (of adni and folder) are converted by dcm2niix into <out>_nifti/, one
    volume each; series.csv there tells what came from where.

    Args:
        root: the dataset's folder, as its owners give it; for cohort also the table itself.
        dataset: which dataset it is: abide, adni, atlas, brain_age, brats2021, brats2023, brats2024_goat,
            ixi, long579, oasis, pixar, ucsf_pdgm, upenn_gbm; cohort for a table of your own; folder or bids
            for any other scans (no labels); or the dotted path of a class of your own.
        out: manifest to write; by default <dataset>.csv in the current folder.
        options: options of the dataset, such as `--options.target diagnosis --options.id patient`.
    """
    from braindino.datasets import dataset_class

    out = Path(out) if out is not None else Path(f"{dataset}.csv")
    _refuse_to_overwrite(out)
    module = _make(dataset_class(dataset), root, out, options or {})
    manifest = module.manifest
    manifest.write(out)
    table = manifest.table
    cases = table[["dataset", "subject", "session"]].drop_duplicates()
    lines = [
        f"{dataset}: {len(table)} scans, {len(cases)} cases, {table['group'].nunique()} people",
        _counts("modality", table["modality"].value_counts()),
    ]
    if len(set(table["dataset"])) > 1:
        lines.append(_counts("dataset", table["dataset"].value_counts()))
    labels = module.label_counts(manifest)
    if labels:
        lines.append(_counts(module.target[0], labels))
    if "label_source" in table:
        lines.append(_counts("label from", table["label_source"].value_counts()))
    lines += _blanks(manifest)
    reasons = manifest.dropped["reason"].value_counts()
    lines.append(f"dropped     {len(manifest.dropped)}" + (":" if len(reasons) else ""))
    lines += [f"  {count:>8}  {reason}" for reason, count in reasons.items()]
    if manifest.passed_over:
        suffixes = Counter(Path(path).suffix or Path(path).name for path in manifest.passed_over)
        kinds = ", ".join(f"{suffix} {count}" for suffix, count in suffixes.most_common(SHOWN))
        lines.append(f"no scans    {len(manifest.passed_over)} other files: {kinds}")
    dropped = out.with_name(f"{out.stem}.dropped.csv")
    lines.append(f"wrote {out} and {dropped.name}")
    print("\n".join(lines))
    return 0


def _blanks(manifest: "Manifest") -> list[str]:
    """Return lines for cells that are blank although the dataset has something, by reason."""
    from braindino.datasets.manifest import NOTE

    if NOTE not in manifest.table:
        return []
    reasons = manifest.table[NOTE].str.split("; ").explode()
    counts = reasons[reasons != ""].value_counts()
    if counts.empty:
        return []
    lines = [f"blank       {counts.sum()} (column {NOTE}):"]
    lines += [f"  {count:>8}  {reason}" for reason, count in counts.head(SHOWN).items()]
    return lines + (
        [f"            ... and {len(counts) - SHOWN} more reasons"] if len(counts) > SHOWN else []
    )


def _counts(title: str, counts: "dict[str, int] | pd.Series[int]") -> str:
    return f"{title:<11} " + ", ".join(f"{name} {count}" for name, count in counts.items())


def _make(
    dataset: "type[ScanDataModule]", root: Path, out: Path, options: dict[str, Any]
) -> "ScanDataModule":
    from difflib import get_close_matches
    from inspect import signature

    from jsonargparse import ArgumentError, ArgumentParser

    from braindino.cli.config.messages import readable
    from braindino.datasets.datamodule import ScanDataModule

    bases = dataset.__mro__[: dataset.__mro__.index(ScanDataModule)]
    given = [name for base in bases if "__init__" in vars(base) for name in signature(base).parameters]
    known = [name for name in given if name not in ("root", "store", "options")]
    for name in options:
        if name not in known:
            near = get_close_matches(name, known, 1, 0.5)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            listed = ", ".join(known) or "none"
            raise BraindinoError(f"{dataset.name} has no option {name!r}.{hint} There are: {listed}.")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(dataset)
    try:
        checked = parser.parse_object({"root": str(root), **options})
    except ArgumentError as error:
        raise BraindinoError(f"index: {dataset.name}, options: {readable(str(error))}") from None
    options = {name: checked[name] for name in options}
    if "dicom" in known:
        options = {"dicom": out.with_name(f"{out.stem}_nifti"), **options}
    return dataset(root, **options)


def _refuse_to_overwrite(out: Path) -> None:
    """A file of that name that is no manifest is somebody's own table, perhaps the one that is read."""
    from braindino.datasets.manifest import is_manifest

    is_other = out.exists() and (describe_special_file(out) or (out.stat().st_size and not is_manifest(out)))
    if is_other:
        raise BraindinoError(f"{out}: is there and is no manifest; give another name with --out.")
