"""Masks on the store's grid, made once and kept: compressed slice by slice, so that one is had in no time."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.manifest import MASK
from braindino.datasets.masks import LABEL_COUNT
from braindino.errors import BraindinoError, ScanError
from braindino.files import atomic_write, is_read_only
from braindino.identity import id_of
from braindino.progress import track

MAX_LISTED = 5  # cases in a message
PAUSE = 10.0  # seconds before a line, and between two
_FORMAT = 2


@dataclass(frozen=True)
class GridMask:
    """Labels of one case on the grid (D, H, W) of its prepared slices.

    digest: of the mask's file, the scan it was drawn on, and the rule that makes labels of its numbers.
    holds: (D, 256) bool, which labels a slice has. values: all labels of the mask as it was drawn, some of
    which may be too small for the grid.
    """

    digest: str
    size: tuple[int, int]
    holds: np.ndarray
    starts: np.ndarray
    packed: np.ndarray
    values: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Number of slices."""
        return len(self.holds)

    def slice(self, i: int) -> np.ndarray:
        """Labels (H, W) uint8 of one slice."""
        packed = self.packed[self.starts[i] : self.starts[i + 1]].tobytes()
        return np.frombuffer(zlib.decompress(packed), np.uint8).reshape(self.size)

    @classmethod
    def of(cls, labels: np.ndarray, digest: str, values: tuple[int, ...] = ()) -> "GridMask":
        """Pack labels (D, H, W) uint8 of a mask whose labels are `values`."""
        packed = [zlib.compress(np.ascontiguousarray(plane).data, 1) for plane in labels]
        holds = np.zeros((len(labels), LABEL_COUNT), dtype=bool)
        for i, plane in enumerate(labels):
            holds[i, np.unique(plane)] = True
        starts = np.cumsum([0, *map(len, packed)])
        whole = np.frombuffer(b"".join(packed), np.uint8)
        return cls(digest, (labels.shape[1], labels.shape[2]), holds, starts, whole, values)


def grid_masks(datamodule: ScanDataModule) -> tuple[dict[int, GridMask], dict[int, str]]:
    """Masks of the cases (by row label of `datamodule.cases`), and why those of others cannot be used.

    They come from `masks` in the store where they are kept. An entry is named by what it is made from, so it
    is never stale; half an entry is never read. New ones are made in `datamodule.jobs` threads.

    Raises:
        BraindinoError: see `check_labels`.
    """
    cases = datamodule.cases
    reasons = {int(row): "no mask" for row in cases.index[cases[MASK] == ""]}
    masks: dict[int, GridMask] = {}
    rows = [int(row) for row in cases.index if int(row) not in reasons]
    with ThreadPoolExecutor(datamodule.jobs) as threads:
        made = threads.map(lambda row: _grid_mask(datamodule, row), rows)
        shown = track(zip(rows, made, strict=True), len(rows), "masks", unit="mask", pause=PAUSE)
        for row, found in shown:
            if isinstance(found, GridMask):
                masks[row] = found
            else:
                reasons[row] = f"mask: {found.reason}"
    check_labels(datamodule, masks)
    return masks, reasons


def check_labels(datamodule: ScanDataModule, masks: Mapping[int, GridMask]) -> None:
    """Refuse masks with labels that no region names, and regions of which no mask holds anything.

    Either would be measured as if there were nothing to find. `ignore_labels` of the data module are the
    labels that count as background on purpose.

    Raises:
        BraindinoError: lists cases and labels, with the remedies.
    """
    named = {label for labels in datamodule.regions.values() for label in labels}
    known = {0, *named, *datamodule.ignore_labels}
    regions = ", ".join(f"{name} {list(labels)}" for name, labels in datamodule.regions.items())
    unknown = {row: sorted(set(mask.values) - known) for row, mask in masks.items()}
    unknown = {row: labels for row, labels in unknown.items() if labels}
    if unknown:
        every = sorted({label for labels in unknown.values() for label in labels})
        names = datamodule.cases["case"].to_dict()
        listed = [
            f"{names[row]} ({', '.join(map(str, labels))})"
            for row, labels in list(unknown.items())[:MAX_LISTED]
        ]
        more = f" and {len(unknown) - MAX_LISTED} more" if len(unknown) > MAX_LISTED else ""
        raise BraindinoError(
            f"masks: {len(unknown)} of {len(masks)} hold labels that no region names (the regions are "
            f"{regions}): {', '.join(listed)}{more}.\n"
            f"Name them in a region, as data.regions: {{lesion: {every}}} of a cohort does, or count them as "
            f"background with data.ignore_labels: {every}."
        )
    present = {label for mask in masks.values() for label in mask.values}
    if masks and not named & present:
        raise BraindinoError(
            f"masks: none of {len(masks)} holds anything of the regions ({regions}); their labels are "
            f"{', '.join(map(str, sorted(present)))}.\nName the labels that the masks have in data.regions."
        )


def _grid_mask(datamodule: ScanDataModule, case: int) -> GridMask | ScanError:
    digest = _digest(datamodule, case)
    file = datamodule.store.path / "masks" / digest[:2] / f"{digest}.npz"
    kept = _read(file, digest)
    if kept is None:
        try:
            drawn = datamodule.labels_of(case)
            values = tuple(int(value) for value in np.unique(drawn.data))
            kept = GridMask.of(datamodule.mask_of(case, drawn), digest, values)
        except ScanError as error:
            return error
        buffer = io.BytesIO()
        np.savez(
            buffer,
            size=kept.size,
            holds=np.packbits(kept.holds, axis=1),
            starts=kept.starts,
            packed=kept.packed,
            values=np.array(kept.values, np.uint8),
        )
        try:
            with atomic_write(file, "wb") as out:
                out.write(buffer.getbuffer())
        except OSError as problem:  # in a read-only store it is made again each time
            if not is_read_only(problem):
                raise
    return kept


def _digest(datamodule: ScanDataModule, case: int) -> str:
    row = datamodule.cases.loc[case]
    keys = [row[f"key_{name}"] for name in datamodule.modalities]
    rule = id_of(datamodule.mask_rule)
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
            values = tuple(kept["values"].tolist())
            return GridMask(digest, (rows, columns), holds, kept["starts"], kept["packed"], values)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
