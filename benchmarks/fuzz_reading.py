"""Read thousands of damaged files and print a table of the errors."""

import argparse
import collections
import gzip
import re
import tempfile
import time
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np

from braindino.errors import ScanError
from braindino.scans.contract import Preprocessing
from braindino.scans.preprocessing import preprocess
from braindino.scans.reading import read_scan

CONTRACT = Preprocessing(depth=8, size=(16, 16))


def originals(folder: Path) -> dict[Path, bytes]:
    """Write one intact file of each format and return their contents."""
    values = np.random.default_rng(0).integers(0, 900, (60, 64, 48)).astype(np.int16)
    affine = np.diag([-1.0, 1, 1.5, 1])
    nib.save(nib.Nifti1Image(values, affine), folder / "a.nii")
    nib.save(nib.Nifti1Image(values.astype(np.float64), affine), folder / "f.nii")
    nib.save(nib.Nifti1Image(values, affine), folder / "b.nii.gz")
    nib.save(nib.Nifti2Image(values, affine), folder / "c.nii")
    nib.save(nib.MGHImage(values.astype(np.int32), affine), folder / "d.mgz")
    nib.save(nib.AnalyzeImage(values, affine), folder / "e.img")
    names = ("a.nii", "f.nii", "b.nii.gz", "c.nii", "d.mgz", "e.hdr", "e.img")
    return {folder / name: (folder / name).read_bytes() for name in names}


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return the content with changed bits, cut or extended, before or after compression."""
    packed = content[:2] == b"\x1f\x8b" and rng.random() < 0.6
    body = bytearray(gzip.decompress(content) if packed else content)
    reach = min(600, len(body)) if rng.random() < 0.6 else len(body)
    for _ in range(int(rng.integers(1, 12))):
        position = int(rng.integers(reach))
        body[position] = (
            int(rng.integers(256)) if rng.random() < 0.5 else body[position] ^ (1 << int(rng.integers(8)))
        )
    resize = rng.random()
    if resize < 0.1:
        del body[int(rng.integers(len(body))) :]
    elif resize < 0.15:
        body += rng.bytes(int(rng.integers(1, 100_000)))
    return gzip.compress(bytes(body), 1) if packed else bytes(body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = np.random.default_rng(given.seed)
    reasons: collections.Counter[str] = collections.Counter()
    slowest, highest = 0.0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        files = originals(Path(folder))
        # Import everything before the time is measured.
        preprocess(read_scan(next(iter(files))), CONTRACT)
        for number in range(given.cases):
            path = list(files)[number % len(files)]
            path.write_bytes(damaged(files[path], rng))
            tracemalloc.start()
            started = time.perf_counter()
            try:
                preprocess(read_scan(path), CONTRACT)
                reasons["accepted: the damage looks like a valid value"] += 1
            except ScanError as error:
                reasons[re.sub(r"[-+]?\d[\d.e+-]*|\b(nan|inf)\b", "N", error.reason)[:70]] += 1
            slowest = max(slowest, time.perf_counter() - started)
            highest = max(highest, tracemalloc.get_traced_memory()[1] / 2**20)
            tracemalloc.stop()
            path.write_bytes(files[path])
    for reason, count in reasons.most_common(25):
        print(f"{count:7}  {reason}")
    print(f"{given.cases:7}  cases, no crash; slowest {slowest:.2f} s, highest memory {highest:.0f} MB")


if __name__ == "__main__":
    main()
