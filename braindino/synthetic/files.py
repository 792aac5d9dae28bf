"""Writing synthetic volumes as scanners and archives do: any orientation, integers, an arbitrary gain."""

import csv
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from braindino.synthetic.heads import Head, Rendered


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


def person(seed: int, number: int, age: float, sex: str, atrophy: float = 0.0) -> Head:
    """The head of a dataset's person `number`: another one under every seed; no atrophy is below 0."""
    return Head(seed * 100_003 + number, age, sex, max(0.0, atrophy))


def draw_gain(rng: np.random.Generator) -> float:
    """What 1.0 becomes in a file: real scanners have no absolute scale, and none may tell the label."""
    return float(np.exp(rng.normal(6.2, 0.4)))


def save_scan(rng: np.random.Generator, path: Path, rendered: Rendered, codes: str) -> None:
    """`save_nifti` as int16 with a gain that is drawn."""
    save_nifti(path, rendered, codes, draw_gain(rng))


def save_nifti(
    path: Path, rendered: Rendered, codes: str = "RAS", gain: float = 500.0, dtype: str = "int16"
) -> None:
    """Write NIfTI with its axes turned to `codes`; 1.0 becomes `gain`, see `draw_gain`."""
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


def write_csv(path: Path, rows: Sequence[Sequence[object]], encoding: str = "utf-8", **options: Any) -> None:
    """Write a table; options as for `csv.writer` (delimiter, lineterminator, quoting)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, **options).writerows(rows)


def write_xls(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write a table as a sheet of Excel 2.1, the smallest of the legacy formats: numbers and Latin-1 text."""

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
