"""Cache masks resampled to the store grid, compressed per slice for random access."""

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
PAUSE = 10.0  # seconds between progress lines
_FORMAT = 2


@dataclass(frozen=True)
class GridMask:
    """Labels of one case on the grid (D, H, W) of its prepared slices.

    Attributes:
        digest: digest of the mask's file, of the scan it was drawn on, and of the rule that makes labels of
            values.
        size: (H, W) in pixels.
        present: (D, 256) bool, which labels a slice has.
        starts: (D + 1,) int64, where each compressed slice begins in `packed`.
        packed: (N,) uint8, the compressed slices one after another.
        values: all labels of the mask as it was drawn; some may be too small to appear on the grid.
    """

    digest: str
    size: tuple[int, int]
    present: np.ndarray
    starts: np.ndarray
    packed: np.ndarray
    values: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Return the number of slices."""
        return len(self.present)

    def slice(self, i: int) -> np.ndarray:
        """Return the labels (H, W) uint8 of slice `i`."""
        compressed = self.packed[self.starts[i] : self.starts[i + 1]].tobytes()
        return np.frombuffer(zlib.decompress(compressed), np.uint8).reshape(self.size)

    @classmethod
    def of(cls, labels: np.ndarray, digest: str, values: tuple[int, ...] = ()) -> "GridMask":
        """Compress the labels of a mask slice by slice.

        Args:
            labels: (D, H, W) uint8 on the grid.
            digest: see the class.
            values: see the class.
        """
        compressed = [zlib.compress(np.ascontiguousarray(plane).data, 1) for plane in labels]
        present = np.zeros((len(labels), LABEL_COUNT), dtype=bool)
        for i, plane in enumerate(labels):
            present[i, np.unique(plane)] = True
        starts = np.cumsum([0, *map(len, compressed)])
        packed = np.frombuffer(b"".join(compressed), np.uint8)
        return cls(digest, (labels.shape[1], labels.shape[2]), present, starts, packed, values)


def grid_masks(datamodule: ScanDataModule) -> tuple[dict[int, GridMask], dict[int, str]]:
    """Return the masks of the cases on the store grid, and reasons for cases without one.

    Masks are cached in the store's folder `masks`. The name of an entry is a digest of everything it is made
    from, so it is never stale; an incomplete entry is never read. New ones are made in `datamodule.jobs`
    threads.

    Args:
        datamodule: after `setup`.

    Returns:
        masks: row label of `datamodule.cases` -> mask.
        reasons: row label -> why the case has no usable mask.

    Raises:
        BraindinoError: see `check_labels`.
    """
    cases = datamodule.cases
    reasons = {int(row): "no mask" for row in cases.index[cases[MASK] == ""]}
    masks: dict[int, GridMask] = {}
    rows = [int(row) for row in cases.index if int(row) not in reasons]
    with ThreadPoolExecutor(datamodule.jobs) as threads:
        results = threads.map(lambda row: _grid_mask(datamodule, row), rows)
        tracked = track(zip(rows, results, strict=True), len(rows), "masks", unit="mask", pause=PAUSE)
        for row, result in tracked:
            if isinstance(result, GridMask):
                masks[row] = result
            else:
                reasons[row] = f"mask: {result.reason}"
    check_labels(datamodule, masks)
    return masks, reasons


def check_labels(datamodule: ScanDataModule, masks: Mapping[int, GridMask]) -> None:
    """Check that regions list every label of the masks, and that a mask has one of them.

    A label that is not listed would be evaluated as background. `ignore_labels` of the data module lists the
    labels that are background on purpose.

    Args:
        datamodule: after `setup`.
        masks: row label of `datamodule.cases` -> mask.

    Raises:
        BraindinoError: labels that no region lists, or no mask with a label of a region.
    """
    in_regions = {label for labels in datamodule.regions.values() for label in labels}
    known = {0, *in_regions, *datamodule.ignore_labels}
    regions = ", ".join(f"{name} {list(labels)}" for name, labels in datamodule.regions.items())
    unknown = {row: sorted(set(mask.values) - known) for row, mask in masks.items()}
    unknown = {row: labels for row, labels in unknown.items() if labels}
    if unknown:
        missing = sorted({label for labels in unknown.values() for label in labels})
        names = datamodule.cases["case"].to_dict()
        listed = [
            f"{names[row]} ({', '.join(map(str, labels))})"
            for row, labels in list(unknown.items())[:MAX_LISTED]
        ]
        more = f" and {len(unknown) - MAX_LISTED} more" if len(unknown) > MAX_LISTED else ""
        raise BraindinoError(
            f"masks: {len(unknown)} of {len(masks)} have labels that no region lists (the regions are "
            f"{regions}): {', '.join(listed)}{more}.\n"
            f"Add them to a region, such as data.regions: {{lesion: {missing}}} of a cohort, or count them "
            f"as background with data.ignore_labels: {missing}."
        )
    present = {label for mask in masks.values() for label in mask.values}
    if masks and not in_regions & present:
        raise BraindinoError(
            f"masks: none of {len(masks)} has a label of the regions ({regions}); their labels are "
            f"{', '.join(map(str, sorted(present)))}.\nList the labels that the masks have in data.regions."
        )


def _grid_mask(datamodule: ScanDataModule, case: int) -> GridMask | ScanError:
    digest = _digest(datamodule, case)
    file = datamodule.store.path / "masks" / digest[:2] / f"{digest}.npz"
    if (cached := _read(file, digest)) is not None:
        return cached
    try:
        drawn = datamodule.labels_of(case)
        values = tuple(int(value) for value in np.unique(drawn.data))
        mask = GridMask.of(datamodule.mask_of(case, drawn), digest, values)
    except ScanError as error:
        return error
    _write(file, mask)
    return mask


def _write(file: Path, mask: GridMask) -> None:
    """Save a mask in the cache; in a read-only store it is made again each time."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        size=mask.size,
        holds=np.packbits(mask.present, axis=1),
        starts=mask.starts,
        packed=mask.packed,
        values=np.array(mask.values, np.uint8),
    )
    try:
        with atomic_write(file, "wb") as out:
            out.write(buffer.getbuffer())
    except OSError as error:
        if not is_read_only(error):
            raise


def _digest(datamodule: ScanDataModule, case: int) -> str:
    row = datamodule.cases.loc[case]
    keys = [row[f"key_{name}"] for name in datamodule.modalities]
    rule = id_of(datamodule.mask_rule)
    sha = hashlib.sha256(f"{_FORMAT}:{rule}:{next(filter(None, keys))}:".encode())
    # The error for a missing mask is left to `mask_of`.
    if Path(row[MASK]).is_file():
        sha.update(Path(row[MASK]).read_bytes())
    return sha.hexdigest()


def _read(file: Path, digest: str) -> GridMask | None:
    """Return a cached mask, or None if there is none or it cannot be read completely."""
    try:
        # numpy leaves a file open that it opened itself and cannot read.
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            rows, columns = (int(side) for side in arrays["size"])
            present = np.unpackbits(arrays["holds"], axis=1).astype(bool)
            values = tuple(arrays["values"].tolist())
            return GridMask(digest, (rows, columns), present, arrays["starts"], arrays["packed"], values)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
