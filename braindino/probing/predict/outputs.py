"""Predictions on disk: tables, and masks in the scan's own space as BIDS names derivatives."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braindino.csv_text import csv_text
from braindino.files import atomic_write, write_json
from braindino.scans.nifti import write_volume
from braindino.version import __version__

_BIDS_NAME = re.compile(r"sub-[A-Za-z0-9]+(_[a-z]+-[A-Za-z0-9]+)*")
BIDS_VERSION = "1.10.0"


def describe_derivatives(out: Path, name: str, probe: Path, encoder: str) -> None:
    """Write `dataset_description.json`, which makes of a folder BIDS derivatives."""
    made = f"Predictions of the probe {probe} on the encoder {encoder}; for research use, no clinical claim."
    write_json(
        out / "dataset_description.json",
        {
            "Name": name,
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "braindino", "Version": __version__, "Description": made}],
        },
    )


def write_table(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """A CSV of `rows`; `columns` come first, and are there even if there is no row."""
    table = pd.DataFrame(list(rows), columns=None if rows else list(columns))
    order = [*columns, *(name for name in table.columns if name not in columns)]
    with atomic_write(path) as file:
        file.write(csv_text(table.reindex(columns=order)))


def write_masks(
    out: Path, case: str, desc: str, masks: Mapping[str, np.ndarray], affine: np.ndarray, exclusive: bool
) -> list[Path]:
    """Write the masks of a case; returns their files, `sub-<label>[/ses-<label>]/anat/...` below `out`.

    Regions that exclude each other: one `..._desc-<desc>_dseg.nii.gz` with labels from 1 in the order of
    `masks`, named in the `.tsv` beside it. Others: a `..._label-<region>_desc-<desc>_mask.nii.gz` each.

    Args:
        masks: region -> (X, Y, Z) bool in the scan's own space. affine: (4, 4), voxel -> mm.
    """
    base = case if _BIDS_NAME.fullmatch(case) else f"sub-{plain_label(case)}"
    parts = [part for part in base.split("_") if part.startswith(("sub-", "ses-"))]
    folder = out.joinpath(*parts, "anat")
    if not exclusive:
        files = [folder / f"{base}_label-{plain_label(region)}_desc-{desc}_mask.nii.gz" for region in masks]
        for file, mask in zip(files, masks.values(), strict=True):
            write_volume(file, mask.astype(np.uint8), affine)
        return files
    labels = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for number, mask in enumerate(masks.values(), start=1):
        labels[mask & (labels == 0)] = number  # of regions with equally many seeds the first
    file = folder / f"{base}_desc-{desc}_dseg.nii.gz"
    write_volume(file, labels, affine)
    with atomic_write(folder / f"{base}_desc-{desc}_dseg.tsv") as table:
        table.write("index\tname\n")
        table.writelines(f"{number}\t{region}\n" for number, region in enumerate(masks, start=1))
    return [file]


def plain_label(text: str) -> str:
    """Letters and digits only, as BIDS has labels."""
    return re.sub(r"[^A-Za-z0-9]", "", text) or "x"
