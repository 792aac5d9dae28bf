"""Define the layout of a store: file names, and reading and writing of sidecars."""

import hashlib
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from braindino.errors import BraindinoError
from braindino.files import atomic_write, check_shape, portable_path, read_json, write_json
from braindino.scans.contract import Preprocessing
from braindino.scans.preprocessing import Prepared
from braindino.scans.reading import Scan
from braindino.scans.seen import slices_digest
from braindino.scans.store.ledger import with_current_names

_Row = tuple[float, float, float, float]
_Window = tuple[float, float]
ARRAY_HEADER = 128  # bytes before the slices in an .npy file of three short axes


class _Geometry(TypedDict):
    """Describe the entry `geometry` of a sidecar; see `scans.geometry.Geometry` for details.

    Attributes:
        shape: lengths of the scan as stored.
        affine: rows of the matrix from stored voxels to mm.
        axes: stored axis of depth, rows and columns.
        flips: true for axes that run against the stored axis.
        grid: lengths of the prepared slices.
        windows: start and length of the covered part of each axis.
    """

    shape: tuple[int, int, int]
    affine: tuple[_Row, _Row, _Row, _Row]
    axes: tuple[int, int, int]
    flips: tuple[bool, bool, bool]
    grid: tuple[int, int, int]
    windows: tuple[_Window, _Window, _Window]


class _Sidecar(TypedDict):
    """Describe the required keys of the JSON beside a scan's slices.

    Attributes:
        source: path of the scan's file, relative to the store.
        sha256: digest of the file.
        depth: number of slices.
        height: rows of a slice.
        width: columns of a slice.
        first: index of the first slice with foreground.
        last: index of the last slice with foreground.
        scale: value of one grey level.
        zero_point: grey level of the value 0.
        spacing: distance between the scan's voxel centres [mm].
        affine_source: see `Scan`.
        geometry: transform to the native grid of the scan.
        stats: see `Normalised`.
    """

    source: str
    sha256: str
    depth: int
    height: int
    width: int
    first: int
    last: int
    scale: float
    zero_point: float
    spacing: tuple[float, float, float]
    affine_source: str
    geometry: _Geometry
    stats: dict[str, float]


@dataclass(frozen=True)
class StoreLayout:
    """Locate the files of a store; light to pickle, because every worker gets one.

    Attributes:
        root: folder of the store.
        contract: contract by which its scans are prepared.
        strip_cmd: skull-stripping command that its scans went through, or None.
    """

    root: Path
    contract: Preprocessing
    strip_cmd: str | None = None

    @property
    def ledger(self) -> Path:
        """Return the folder of the append-only records."""
        return self.root / "ledger"

    @property
    def stripped(self) -> Path:
        """Return the folder of cached skull-stripped scans."""
        return self.root / "stripped"

    def key(self, sha256: str) -> str:
        """Return the key of a scan's slices, a digest of content, contract and stripping command.

        Args:
            sha256: digest of the scan's file.
        """
        made_of = f"{sha256}:{self.contract.digest}:{self.strip_cmd or ''}"
        return hashlib.sha256(made_of.encode()).hexdigest()[:40]

    def array(self, key: str) -> Path:
        """Return the path of the slices of a key, a plain .npy (D, H, W)."""
        return Path(self.array_name(key))

    def array_name(self, key: str) -> str:
        """Return `array` as text; a Path object would take a fifth of the time to read a slice."""
        return f"{self._scans}/{key[:2]}/{key}.npy"

    @cached_property
    def _scans(self) -> str:
        return str(self.root / "scans")

    def sidecar(self, key: str) -> Path:
        """Return the path of the JSON beside the slices."""
        return self.root / "scans" / key[:2] / f"{key}.json"

    @cached_property
    def plane_bytes(self) -> int:
        """Return the bytes of one slice."""
        return int(np.prod(self.contract.size)) * np.dtype(self.contract.dtype).itemsize

    def holds(self, key: str, depth: int) -> bool:
        """Return whether the slices exist at their full length, with their sidecar."""
        try:
            length = self.array(key).stat().st_size
        except OSError:
            return False
        return length == ARRAY_HEADER + depth * self.plane_bytes and self.sidecar(key).is_file()

    def write(self, key: str, scan: Scan, prepared: Prepared) -> dict[str, Any]:
        """Write slices and sidecar atomically and return the sidecar."""
        with atomic_write(self.array(key), "wb") as file:
            np.lib.format.write_array(file, prepared.slices, version=(1, 0))
            if file.tell() != ARRAY_HEADER + prepared.slices.nbytes:
                raise AssertionError("numpy's header does not have the length that reads rely on")
        depth, height, width = prepared.slices.shape
        sidecar = {
            "key": key,
            "source": portable_path(scan.path, self.root),
            "sha256": scan.sha256,
            "slices_digest": slices_digest(prepared.slices),
            "depth": depth,
            "height": height,
            "width": width,
            "first": prepared.first,
            "last": prepared.last,
            "scale": prepared.scale,
            "zero_point": prepared.zero_point,
            "spacing": list(scan.spacing),
            "affine_source": scan.affine_source,
            "geometry": prepared.geometry.to_dict(),
            "stats": prepared.stats,
            "strip_cmd": self.strip_cmd,
            "preprocessing": self.contract.to_dict(),
        }
        write_json(self.sidecar(key), sidecar)
        return sidecar

    def remove_leftovers(self) -> None:
        """Remove temporary files that killed processes left behind, recognised by an age of a day."""
        long_ago = time.time() - 86400
        for left in [
            *self.root.glob("scans/*/.*.tmp"),
            *self.root.glob(".*.tmp"),
            *self.stripped.glob(".running-*"),
        ]:
            with suppress(OSError):  # another process removes them too, or the store is read-only
                if left.stat().st_mtime >= long_ago:
                    continue
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink()

    def read_sidecar(self, key: str) -> dict[str, Any]:
        """Return the sidecar of a key.

        Raises:
            BraindinoError: it does not exist or is damaged.
        """
        file = self.sidecar(key)
        try:
            sidecar = with_current_names(read_json(file, dict[str, Any]))
            check_shape(sidecar, _Sidecar, file)
        except FileNotFoundError:
            raise BraindinoError(f"{file}: gone; run `braindino prepare` again to redo it.") from None
        except BraindinoError as error:
            raise BraindinoError(f"{error}\nRemove it and run `braindino prepare` again.") from None
        return sidecar
