"""The verb `index`: a dataset's folder in, its manifest out, with counts of what was taken and what not."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def index(root: Path, dataset: str = "folder", out: Path | None = None) -> int:
    """Read a dataset as it lies on the disk and write its manifest: one row per scan, in a CSV.

    Nothing is copied or changed, and only names and tables are read. What is not taken is listed with its
    reason in <out>.dropped.csv.

    Args:
        root: the dataset's folder, as its owners give it.
        dataset: which dataset it is: abide, adni, ixi, oasis; folder or bids for any other scans (no labels).
        out: manifest to write; by default <dataset>.csv in the current folder.
    """
    from braindino.datasets import dataset_class

    module = dataset_class(dataset)(root)
    manifest = module.index(Path(root))
    out = Path(out) if out is not None else Path(f"{dataset}.csv")
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
    reasons = manifest.dropped["reason"].value_counts()
    lines.append(f"dropped     {len(manifest.dropped)}" + (":" if len(reasons) else ""))
    lines += [f"  {count:>8}  {reason}" for reason, count in reasons.items()]
    dropped = out.with_name(f"{out.stem}.dropped.csv")
    lines.append(f"wrote {out} and {dropped.name}")
    print("\n".join(lines))
    return 0


def _counts(title: str, counts: "dict[str, int] | pd.Series[int]") -> str:
    return f"{title:<11} " + ", ".join(f"{name} {count}" for name, count in counts.items())
