"""Measure the cost of the views of one slice on one CPU core, and of the two ways to crop."""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from braindino.pretraining.views.crops import Boxes, crop, crop_by_products, sample_boxes
from braindino.pretraining.views.intensity import IntensityConfig, change_intensity
from braindino.pretraining.views.masking import MaskConfig, sample_masks
from braindino.pretraining.views.rng import Randomness
from braindino.pretraining.views.views import ViewsConfig, make_views


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="side of the slices")
    parser.add_argument("--global-size", type=int, default=224)
    parser.add_argument("--local-size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    config = ViewsConfig(global_size=args.global_size, local_size=args.local_size)
    cpu = torch.device("cpu")
    raw = torch.randint(0, 255, (args.batch, args.size, args.size), dtype=torch.uint8)
    batch = {
        "slices": raw,
        "scale": torch.full((args.batch,), 0.02),
        "zero_point": torch.full((args.batch,), 30.0),
    }
    slices = raw.float()
    grid = (args.global_size // 16, args.global_size // 16)

    def each(make: Callable[[Tensor, Boxes, int], Tensor], repeat: int) -> None:
        host = Randomness.of(0, repeat, 0, cpu).host
        size = (args.size, args.size)
        make(slices, sample_boxes(2, args.batch, size, config.global_scale, 0.5, host), args.global_size)
        make(slices, sample_boxes(8, args.batch, size, config.local_scale, 0.5, host), args.local_size)

    def intensity(repeat: int) -> None:
        r = Randomness.of(0, repeat, 0, cpu)
        change_intensity(slices, IntensityConfig(), r.host, r.device)

    rows: dict[str, Callable[[int], object]] = {
        "all of it (make_views)": lambda i: make_views(batch, config, Randomness.of(0, i, 0, cpu)),
        "  of which intensity": intensity,
        "  of which crops": lambda i: each(crop, i),
        "crops as on a GPU": lambda i: each(crop_by_products, i),
        "masks of 2 crops": lambda i: sample_masks(
            2 * args.batch, grid, MaskConfig(), Randomness.of(0, i, 0, cpu).host
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in rows}
    for repeat in range(args.repeats + 1):
        for name, run in rows.items():
            start = time.process_time()
            run(repeat)
            if repeat:
                times[name].append((time.process_time() - start) / args.batch * 1e3)
    views = f"2 x {args.global_size} + 8 x {args.local_size} of {args.size}"
    print(f"{views}, batch {args.batch}, one core, median of {args.repeats}: CPU ms per slice")
    for name, values in times.items():
        print(f"{name:<26}{statistics.median(values):8.2f}")


if __name__ == "__main__":
    main()
