"""Writing synthetic volumes as scanners and archives do: any orientation, integers, an arbitrary gain."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from braindino.datasets.synthetic.heads import Rendered


@dataclass
class Planted:
    """What a generator wrote, for tests to hold an index against.

    Attributes:
        scans: one dict per scan that an index should keep: `subject`, `session` and the labels.
        dropped: reason -> number of files that an index should drop.
    """

    scans: list[dict[str, object]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str, files: int = 1) -> None:
        """Count files to be dropped."""
        self.dropped[reason] = self.dropped.get(reason, 0) + files


def save_nifti(
    path: Path, rendered: Rendered, codes: str = "RAS", gain: float = 500.0, dtype: str = "int16"
) -> None:
    """Write NIfTI with its axes turned to `codes`; 1.0 becomes `gain`.

    The gain is to be drawn at random by the caller: real scanners have no absolute scale, and none may tell
    the label.
    """
    values = rendered.volume * np.asarray(gain, "float64" if dtype == "float64" else rendered.volume.dtype)
    if np.dtype(dtype).kind == "i":
        values = np.clip(np.rint(values), 0, 32767)
    _save(path, values.astype(dtype), rendered.affine, codes)


def save_mask(
    path: Path, mask: np.ndarray, affine: np.ndarray, codes: str = "RAS", one: float | None = None
) -> None:
    """Write labels as uint8 NIfTI, turned like the scan they belong to; with `one`, as float32 times it."""
    values = mask.astype(np.uint8) if one is None else mask.astype(np.float32) * np.float32(one)
    _save(path, values, affine, codes)


def _save(path: Path, values: np.ndarray, affine: np.ndarray, codes: str) -> None:
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image.as_reoriented(turn), path)


def write_csv(path: Path, rows: Sequence[Sequence[object]], **options: Any) -> None:
    """Write a table; options as for `csv.writer` (delimiter, lineterminator)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, **options).writerows(rows)
