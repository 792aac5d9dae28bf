"""Measure random reads from a store of 52,000 scans, and the cost of its index."""

import argparse
import pickle
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from braindino.scans.contract import PRESETS
from braindino.scans.store.layout import ARRAY_HEADER, StoreLayout
from braindino.scans.store.ledger import LedgerWriter
from braindino.scans.store.store import Store

Draws = list[tuple[str, int]]


def simulate(layout: StoreLayout, scans: int) -> list[str]:
    """Write a ledger of `scans` records and their arrays as sparse files; return the keys."""
    writer = LedgerWriter(layout.ledger)
    keys = []
    for i in range(scans):
        key, subject, session = layout.key(f"scan {i}"), f"sub-{i // 2:06}", f"ses-{i % 2}"
        keys.append(key)
        array = layout.array(key)
        array.parent.mkdir(parents=True, exist_ok=True)
        with array.open("wb") as file:
            file.truncate(ARRAY_HEADER + 128 * layout.plane_bytes)
        writer.append(
            {
                "path": f"/data/corpus/{subject}/{session}/anat/{subject}_{session}_T1w.nii.gz",
                "bytes": 8_000_000 + i, "mtime_ns": 1_700_000_000_000_000_000 + i,
                "dataset": f"set{i % 20}", "subject": subject, "session": session, "modality": "T1w",
                "group": f"set{i % 20}:{subject}", "key": key, "depth": 128, "height": 256, "width": 256,
                "first": 3, "last": 120, "scale": 0.0171, "zero_point": 120.0,
            }
        )  # fmt: skip
    writer.close()
    return keys


def draw(keys: list[str], per_scan: int, number: int) -> Draws:
    """Return `number` draws from `per_scan` slices of each scan, few enough for the page cache."""
    rng = np.random.default_rng(0)
    pool = [(key, int(i)) for key in keys for i in rng.integers(0, 128, per_scan)]
    return [pool[k] for k in rng.integers(0, len(pool), number)]


def measure(what: str, read: Callable[[str, int], object], draws: Draws) -> None:
    """Print slices per second, by the clock and by the processor time of this one core."""
    for key, i in set(draws):
        read(key, i)
    clock, processor = time.perf_counter(), time.process_time()
    for key, i in draws:
        read(key, i)
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    print(f"{what:45} {len(draws) / clock:14,.0f} {len(draws) / processor:20,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=52_000)
    parser.add_argument("--reads", type=int, default=50_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        layout = Store.create(Path(folder) / "store", PRESETS["paper"]).layout
        keys = simulate(layout, given.scans)

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        store = Store.open(layout.root)
        index = store.index()
        seconds = time.perf_counter() - started
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(f"opening it and its index of {len(index)} scans: {seconds:.2f} s, {grown:.0f} MB")
        print(f"as a loader's worker receives it: {len(pickle.dumps(store))} bytes")

        title = "random slices per second, warm cache"
        print(f"{title:45} {'by the clock':>14} {'by processor time':>20}")
        few, many = draw(keys[:60], 64, given.reads), draw(keys[:4000], 1, given.reads)
        measure("60 scans, slice(key, i)", store.slice, few)
        measure("60 scans, slices(key)[i]", lambda key, i: np.array(store.slices(key)[i]), few)
        measure("4,000 scans, slice(key, i)", store.slice, many)
        measure("4,000 scans, slices(key)[i]", lambda key, i: np.array(store.slices(key)[i]), many)
        print(f"files open after that: {len(list(Path('/proc/self/fd').iterdir()))}")


if __name__ == "__main__":
    main()
