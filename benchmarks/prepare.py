"""Measure speed, scaling and memory of `prepare` on 1 mm T1 volumes."""

import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

from braindino.scans.contract import PRESETS
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store


def make_volumes(folder: Path, number: int) -> list[Path]:
    """Write heads of 256 x 256 x 176 voxels, int16, with noise; gzip halves their size."""
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


def pss(process: int) -> float:
    """Return the proportional set size of a process [MB]; 0 when it has ended."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    return int(re.findall(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)[0]) / 1024


class Memory:
    """Monitor the memory of the largest process in a thread: of this one, or of its children.

    Attributes:
        peak: the largest value so far [MB].
    """

    def __init__(self, children: bool) -> None:
        self.peak = 0.0
        self._children, self._stop = children, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        me = os.getpid()
        while not self._stop.wait(0.02):
            born = [int(p) for t in Path("/proc/self/task").iterdir() for p in _read(t / "children").split()]
            self.peak = max([self.peak, *map(pss, born if self._children else [me])])


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # the thread has ended
        return ""


def measure(paths_file: Path, store: Path, jobs: int) -> None:
    """Fill a store; print seconds, scans, processor seconds and memory [MB]."""
    rows = pd.DataFrame({"path": paths_file.read_text().splitlines()})
    with Memory(children=jobs > 1) as memory:
        started = time.perf_counter()
        report = fill(Store.create(store, PRESETS["paper"]), rows, jobs=jobs, progress=False)
        seconds = time.perf_counter() - started
    who = resource.RUSAGE_SELF if jobs == 1 else resource.RUSAGE_CHILDREN
    used = resource.getrusage(who)
    print(seconds, report.prepared, used.ru_utime + used.ru_stime, memory.peak)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volumes", type=int, default=24)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=1, help="times every number of jobs; medians are shown")
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
        # In turn, so that a varying load of the machine affects all of them.
        runs: dict[int, list[tuple[float, ...]]] = {jobs: [] for jobs in given.jobs}
        for turn in range(given.rounds):
            for jobs in given.jobs:
                store = folder / f"store{jobs}-{turn}"
                command = [sys.executable, __file__, "--measure", folder / "paths.txt", store, jobs]
                done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
                runs[jobs].append(tuple(map(float, done.stdout.split())))
        print(
            "jobs  scans  seconds  scans/s  scaling  processor s/scan (with start-up)  MB per process (PSS)"
        )
        alone = None
        for jobs, results in runs.items():
            seconds, prepared, processor = (statistics.median(run[i] for run in results) for i in range(3))
            memory = max(run[3] for run in results)
            rate = prepared / seconds
            alone = alone or rate / jobs
            print(
                f"{jobs:4}  {prepared:5.0f}  {seconds:7.1f}  {rate:7.2f}  {rate / jobs / alone:7.0%}"
                f"  {processor / prepared:32.2f}  {memory:20.0f}"
            )
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{os.cpu_count()} cores; load of the last 1, 5, 15 minutes, these runs included: {load}")


if __name__ == "__main__":
    main()
