"""Flip random bytes in headers and bodies: the result is a scan or a ScanError, within bounds."""

import gzip
import time
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np

from braindino.errors import ScanError
from braindino.scans.contract import Preprocessing
from braindino.scans.preprocessing import preprocess
from braindino.scans.reading import read_scan

HONEST = np.random.default_rng(0).integers(0, 900, (40, 44, 36)).astype(np.int16)
CONTRACT = Preprocessing(depth=8, size=(16, 16))


def sources(folder: Path) -> list[Path]:
    """Write one sound file of each format."""
    affine = np.diag([-1.0, 1, 1.5, 1])
    nib.save(nib.Nifti1Image(HONEST, affine), folder / "a.nii")
    nib.save(nib.Nifti1Image(HONEST.astype(np.float32), affine), folder / "f.nii")
    nib.save(nib.Nifti1Image(HONEST, affine), folder / "b.nii.gz")
    nib.save(nib.Nifti2Image(HONEST, affine), folder / "c.nii")
    nib.save(nib.MGHImage(HONEST.astype(np.int32), affine), folder / "d.mgz")
    nib.save(nib.AnalyzeImage(HONEST, affine), folder / "e.img")
    return [folder / name for name in ("a.nii", "f.nii", "b.nii.gz", "c.nii", "d.mgz", "e.hdr")]


def outcome(path: Path) -> str | None:
    """Return why a file is rejected, or None."""
    try:
        preprocess(read_scan(path), CONTRACT)
    except ScanError as error:
        return error.reason
    return None


def test_read_scan_survives_a_hundred_damaged_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(20260101)
    originals = {path: path.read_bytes() for path in sources(tmp_path)}
    refused = 0
    for number in range(100):
        path = list(originals)[number % len(originals)]
        content = bytearray(originals[path])
        packed = path.suffix in (".gz", ".mgz") and number % 4 < 2
        if packed:  # damage what is inside, too: the checksum cannot tell
            content = bytearray(gzip.decompress(bytes(content)))
        reach = min(400, len(content)) if number % 3 else len(content)
        for _ in range(int(rng.integers(1, 6))):
            content[int(rng.integers(reach))] = int(rng.integers(256))
        path.write_bytes(gzip.compress(bytes(content), 1) if packed else bytes(content))
        tracemalloc.start()
        started = time.perf_counter()
        reason = outcome(path)
        elapsed = time.perf_counter() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        path.write_bytes(originals[path])
        refused += reason is not None
        assert reason is None or (reason and "\n" not in reason), (number, path.name, reason)
        assert elapsed < 5, (number, path.name)
        assert peak < 12 * HONEST.size * 4 + (12 << 20), (number, path.name, peak)
    assert 20 < refused < 100  # some damage, such as another value of a voxel, cannot be detected
