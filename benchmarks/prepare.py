"""Speed, scaling and memory of `prepare` on 1 mm T1 volumes, as a table."""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from braindino.scans.preprocessing import PRESETS
from braindino.scans.store import Store, fill


def make_volumes(folder: Path, number: int) -> list[Path]:
    """Whole heads of 256 x 256 x 176 voxels, int16, with noise in and around them: they pack about 2 to 1."""
    shape = (256, 256, 176)
    x, y, z = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    radius = np.sqrt((x[:, None, None] / 0.7) ** 2 + (y[:, None] / 0.8) ** 2 + (z / 0.85) ** 2)
    paths = []
    for i in range(number):
        rng = np.random.default_rng(i)
        head = np.where(radius < 1, 600 + 300 * np.cos(9 * radius), 0)
        volume = np.abs(head + rng.normal(0, 12, shape)).astype(np.int16)
        paths.append(folder / f"head{i:03}.nii.gz")
        nib.save(nib.Nifti1Image(volume, np.eye(4)), paths[-1])
    return paths


def measure(paths_file: Path, store: Path, jobs: int) -> None:
    """Fill a store in this process and its workers; print seconds, scans, processor seconds, MB of memory."""
    rows = pd.DataFrame({"path": paths_file.read_text().splitlines()})
    started = time.perf_counter()
    report = fill(Store.create(store, PRESETS["paper"]), rows, jobs=jobs, progress=False)
    seconds = time.perf_counter() - started
    who = resource.RUSAGE_SELF if jobs == 1 else resource.RUSAGE_CHILDREN
    used = resource.getrusage(who)
    print(seconds, report.prepared, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volumes", type=int, default=24)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--data", type=Path, help="a folder of scans to use in place of synthetic ones")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(Path(given.measure[0]), Path(given.measure[1]), int(given.measure[2]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = sorted(given.data.rglob("*.nii*")) if given.data else make_volumes(folder, given.volumes)
        (folder / "paths.txt").write_text("\n".join(map(str, paths)))
        print("jobs  scans  seconds  scans/s  scaling  processor s/scan (start-up included)  MB per process")
        alone = None
        for jobs in given.jobs:
            command = [
                sys.executable,
                __file__,
                "--measure",
                folder / "paths.txt",
                folder / f"store{jobs}",
                str(jobs),
            ]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
            seconds, prepared, processor, memory = map(float, done.stdout.split())
            rate = prepared / seconds
            alone = alone or rate / jobs
            print(
                f"{jobs:4}  {prepared:5.0f}  {seconds:7.1f}  {rate:7.2f}  {rate / jobs / alone:7.0%}"
                f"  {processor / prepared:36.2f}  {memory:14.0f}"
            )


if __name__ == "__main__":
    main()
