"""Masks on the store's grid, made once and kept: compressed slice by slice, so that one is had in no time."""

import hashlib
import io
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.manifest import MASK
from braindino.files import atomic_write
from braindino.scans.reading import ScanError

LABELS = 256
_FORMAT = 1


@dataclass(frozen=True)
class GridMask:
    """Labels of one case on the grid (D, H, W) of its prepared slices.

    digest: of the mask's file, the scan it was drawn on, and the rule that makes labels of its numbers.
    holds: (D, 256) bool, which labels a slice has.
    """

    digest: str
    size: tuple[int, int]
    holds: np.ndarray
    starts: np.ndarray
    packed: np.ndarray

    def __len__(self) -> int:
        """Number of slices."""
        return len(self.holds)

    def slice(self, i: int) -> np.ndarray:
        """Labels (H, W) uint8 of one slice."""
        packed = self.packed[self.starts[i] : self.starts[i + 1]].tobytes()
        return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self.size)

    @classmethod
    def of(cls, labels: np.ndarray, digest: str) -> "GridMask":
        """Pack labels (D, H, W) uint8."""
        packed = [zlib.compress(np.ascontiguousarray(plane).data, 1) for plane in labels]
        holds = np.zeros((len(labels), LABELS), dtype=bool)
        for i, plane in enumerate(labels):
            holds[i, np.unique(plane)] = True
        starts = np.cumsum([0, *map(len, packed)])
        whole = np.frombuffer(b"".join(packed), np.uint8)
        return cls(digest, (labels.shape[1], labels.shape[2]), holds, starts, whole)


def grid_masks(datamodule: ScanDataModule) -> tuple[dict[int, GridMask], dict[int, str]]:
    """Masks of the cases (by row label of `datamodule.cases`), and why those of others cannot be used.

    They come from `masks` in the store where they are kept. An entry is named by what it is made from, so it
    is never stale; half an entry is never read. New ones are made in `datamodule.jobs` threads.
    """
    cases = datamodule.cases
    reasons = {int(row): "no mask" for row in cases.index[cases[MASK] == ""]}
    masks: dict[int, GridMask] = {}
    rows = [int(row) for row in cases.index if int(row) not in reasons]
    with ThreadPoolExecutor(datamodule.jobs) as threads:
        for row, found in zip(rows, threads.map(lambda row: _grid_mask(datamodule, row), rows), strict=True):
            if isinstance(found, GridMask):
                masks[row] = found
            else:
                reasons[row] = f"mask: {found.reason}"
    return masks, reasons


def _grid_mask(datamodule: ScanDataModule, case: int) -> GridMask | ScanError:
    digest = _digest(datamodule, case)
    file = datamodule.store.path / "masks" / digest[:2] / f"{digest}.npz"
    kept = _read(file, digest)
    if kept is None:
        try:
            kept = GridMask.of(datamodule.mask_of(case), digest)
        except ScanError as error:
            return error
        buffer = io.BytesIO()
        np.savez(
            buffer,
            size=kept.size,
            holds=np.packbits(kept.holds, axis=1),
            starts=kept.starts,
            packed=kept.packed,
        )
        with atomic_write(file, "wb") as out:
            out.write(buffer.getbuffer())
    return kept


def _digest(datamodule: ScanDataModule, case: int) -> str:
    row = datamodule.cases.loc[case]
    keys = [row[f"key_{name}"] for name in datamodule.modalities]
    rule = datamodule.mask_rule.__name__
    sha = hashlib.sha256(f"{_FORMAT}:{rule}:{next(filter(None, keys))}:".encode())
    if Path(row[MASK]).is_file():  # what is wrong with it, `mask_of` says best
        sha.update(Path(row[MASK]).read_bytes())
    return sha.hexdigest()


def _read(file: Path, digest: str) -> GridMask | None:
    """A kept mask, or None where there is none that can be read whole."""
    try:
        # numpy leaves a file open that it opened itself and cannot read.
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
            rows, columns = (int(side) for side in kept["size"])
            holds = np.unpackbits(kept["holds"], axis=1).astype(bool)
            return GridMask(digest, (rows, columns), holds, kept["starts"], kept["packed"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
