"""Write synthetic volumes as scanners do: any orientation, integers, arbitrary gain."""

import csv
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from braindino.synthetic.rendering import Rendered


@dataclass
class Planted:
    """List what a generator wrote, so that tests can compare an index with it.

    Attributes:
        scans: one dict per scan that an index should list: `subject`, `session` and the labels.
        dropped: reason -> number of files that an index should drop.
    """

    scans: list[dict[str, object]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)

    def drop(self, reason: str, files: int = 1) -> None:
        """Count files to be dropped."""
        self.dropped[reason] = self.dropped.get(reason, 0) + files


def draw_gain(rng: np.random.Generator) -> float:
    """Return a random stored value of 1.0, as real scanners have no absolute scale."""
    return float(np.exp(rng.normal(6.2, 0.4)))


def save_scan(rng: np.random.Generator, path: Path, rendered: Rendered, codes: str) -> None:
    """Write NIfTI as int16 with a random gain, see `save_nifti`."""
    save_nifti(path, rendered, codes, draw_gain(rng))


def save_nifti(
    path: Path, rendered: Rendered, codes: str = "RAS", gain: float = 500.0, dtype: str = "int16"
) -> None:
    """Write NIfTI with its axes turned to `codes`.

    Args:
        path: file to write.
        rendered: the scan.
        codes: axis codes such as "LPS".
        gain: stored value of 1.0, see `draw_gain`.
        dtype: type of the stored values.
    """
    values = rendered.volume * np.asarray(gain, "float64" if dtype == "float64" else rendered.volume.dtype)
    if np.dtype(dtype).kind == "i":
        values = np.clip(np.rint(values), 0, 32767)
    _save(path, values.astype(dtype), rendered.affine, codes)


def save_mask(
    path: Path, mask: np.ndarray, affine: np.ndarray, codes: str = "RAS", one: float | None = None
) -> None:
    """Write labels as NIfTI.

    Args:
        path: file to write.
        mask: (X, Y, Z) labels.
        affine: (4, 4), voxel -> mm.
        codes: axis codes of the scan.
        one: if given, labels are stored as float32 multiplied by it, else as uint8.
    """
    values = mask.astype(np.uint8) if one is None else mask.astype(np.float32) * np.float32(one)
    _save(path, values, affine, codes)


def _save(path: Path, values: np.ndarray, affine: np.ndarray, codes: str) -> None:
    image = nib.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image.as_reoriented(turn), path)


def write_csv(path: Path, rows: Sequence[Sequence[object]], encoding: str = "utf-8", **options: Any) -> None:
    """Write a table.

    Args:
        path: file to write.
        rows: cells, header included.
        encoding: encoding of the file.
        options: options of `csv.writer` (delimiter, lineterminator, quoting).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, **options).writerows(rows)


def write_xls(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write a table in Excel 2.1, the smallest legacy format: numbers and Latin-1 text."""

    def record(kind: int, content: bytes) -> bytes:
        return struct.pack("<HH", kind, len(content)) + content

    cells = []
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            place = struct.pack("<HH3x", i, j)
            if isinstance(value, int | float):
                cells.append(record(0x0003, place + struct.pack("<d", value)))
            elif text := str(value).encode("latin-1"):
                cells.append(record(0x0004, place + bytes([len(text)]) + text))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = [record(0x0009, struct.pack("<HH", 7, 0x10)), *cells, record(0x000A, b"")]
    path.write_bytes(b"".join(sheet))
