"""Measure start-up, memory and open files of a data module over 52,000 simulated scans."""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from store_reads import simulate

from braindino.datasets.pretraining.slices import SliceDataModule
from braindino.scans.contract import PRESETS
from braindino.scans.store.store import Store


def memory_mb() -> float:
    """Return the resident memory of this process now (not its peak) [MB]."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=52_000)
    parser.add_argument("--batches", type=int, default=2_000)
    parser.add_argument("--batch-size", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        layout = Store.create(Path(folder) / "store", PRESETS["paper"]).layout
        simulate(layout, given.scans)
        print(f"{'':44} {'clock s':>8} {'CPU s':>8} {'memory MB':>10} {'open files':>11}")

        def print_row(what: str, clock: float, processor: float) -> None:
            print(
                f"{what:44} {clock:8.2f} {processor:8.2f} {memory_mb():10.0f} {open_files():11}", flush=True
            )

        print_row("before (imports done)", 0.0, 0.0)
        clock, processor = time.perf_counter(), time.process_time()
        module = SliceDataModule(layout.root, given.batch_size, num_workers=0, val_fraction=0.01)
        module.setup("fit")
        batches = iter(module.train_dataloader())
        next(batches)
        slices = len(module.scans) * 128
        what = f"set up {len(module.scans):,} scans ({slices / 1e6:.1f} M slices), 1 batch"
        print_row(what, time.perf_counter() - clock, time.process_time() - processor)
        for quarter in range(4):
            clock, processor = time.perf_counter(), time.process_time()
            for _ in range(given.batches // 4):
                next(batches)
            what = f"batches of {given.batch_size} up to the {given.batches * (quarter + 1) // 4:,}th"
            print_row(what, time.perf_counter() - clock, time.process_time() - processor)


if __name__ == "__main__":
    main()
