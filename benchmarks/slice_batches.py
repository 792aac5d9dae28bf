"""Measure the raw slices per second of a data module in batches of 256."""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from store_reads import simulate

from braindino.datasets.pretraining.slices import SliceDataModule
from braindino.scans.contract import PRESETS
from braindino.scans.store.store import Store


def measure(store: Path, batch_size: int, workers: int, seconds: float) -> tuple[float, float]:
    """Return the slices per second of the clock and of this process's CPU, with a warm cache."""
    module = SliceDataModule(store, batch_size, num_workers=workers, steps_per_epoch=1_000_000)
    module.setup("fit")
    batches = iter(module.train_dataloader())
    for _ in range(4 + 2 * workers):
        next(batches)
    taken, clock, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - clock < seconds:
        taken += len(next(batches)["slices"])
    return taken / (time.perf_counter() - clock), taken / (time.process_time() - processor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=4.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        layout = Store.create(Path(folder) / "store", PRESETS["paper"]).layout
        noise = np.random.default_rng(0).integers(0, 255, 1 << 20, np.uint8).tobytes() * 9
        # Real bytes: a sparse file reads faster.
        for key in simulate(layout, given.scans):
            array = layout.array(key)
            array.write_bytes(noise[: array.stat().st_size])
        print(f"batches of {given.batch_size} raw slices of 256 x 256, warm cache")
        print(f"{'workers':>8} {'slices/s by the clock':>22} {'slices/s of CPU in the main process':>36}")
        for workers in given.workers:
            clock, processor = measure(layout.root, given.batch_size, workers, given.seconds)
            print(f"{workers:8} {clock:22,.0f} {processor:36,.0f}")


if __name__ == "__main__":
    main()
