"""Compare a step of BrainSegFounder's pretraining with forward and backward alone.

The bound of the step is forward and backward of encoder and heads on two prepared views of the crops,
without rotations, cuts, losses, clipping or optimiser. The two run in turn, in one process; times are CPU
seconds of all its threads, which other jobs on the machine disturb less. Peak memory is of a process that
runs only one of them.

    python benchmarks/swin_step.py --crop 64 --repeats 5 --out benchmarks/results/swin_step.md
    python benchmarks/swin_step.py --crop 96 --repeats 3 --out benchmarks/results/swin_step.md
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from braindino.brainsegfounder import SwinSSLModule
from braindino.brainsegfounder.optimiser import GradientClipping, SwinOptimiserConfig
from braindino.brainsegfounder.ssl_heads import SSLHeads
from braindino.encoders.volumes.swin import SwinShape, swin

ABOUT = """# A step of BrainSegFounder's pretraining

`benchmarks/swin_step.py` with the sizes of each row, on two cores of an AMD EPYC: float32, CPU seconds of
all threads, medians and ranges of steps taken in turn with the bound: forward and backward of the same
network on the same views.

"""
COLUMNS = (
    "crops", "width", "threads", "load", "bound s", "step s", "step / bound", "aim", "bound GiB", "step GiB",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--crops", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--parts", action="store_true", help="time the parts of a step as well")
    parser.add_argument("--out", type=Path, help="add a row to this table")
    parser.add_argument("--only", choices=["bound", "step"], help="run one of the two, to read its memory")
    args = parser.parse_args()
    torch.manual_seed(0)
    runs, parts = made(args)
    if args.only:
        for number in range(2):
            runs[args.only](number)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
        return
    load = os.getloadavg()[0]
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(args.repeats + 1):
        for name, run in sorted(runs.items(), reverse=bool(number % 2)):
            before = time.process_time()
            run(number)
            if number:  # the first of each warms up
                times[name].append(time.process_time() - before)
    ratios = [step / bound for step, bound in zip(times["step"], times["bound"], strict=True)]
    row = [
        f"{args.crops} of {args.crop}^3", str(args.width), str(torch.get_num_threads()), f"{load:.1f}",
        *(f"{statistics.median(times[name]):.2f}" for name in ("bound", "step")),
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})", "1.15",
        *(f"{peak(name, args):.2f}" for name in ("bound", "step")),
    ]  # fmt: skip
    for name, value in zip(COLUMNS, row, strict=True):
        print(f"{name:<14}{value}")
    for name, values in parts.items():
        print(f"  {name:<12}{statistics.median(values[1:]):9.3f} s")
    if args.out:
        head = "" if args.out.exists() else f"{ABOUT}| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n"
        with args.out.open("a") as file:
            file.write(f"{head}| {' | '.join(row)} |\n")


def made(args: argparse.Namespace) -> tuple[dict[str, Callable[[int], None]], dict[str, list[float]]]:
    """Return the bound and the step by name, and the dict that gets the times of the parts."""
    shape = SwinShape(channels=("t1", "flair"), width=args.width, legacy_merging=False)
    module = SwinSSLModule(width=args.width)
    module.shape, module.encoder, module.heads = shape, swin(shape), SSLHeads(16 * args.width, 2)
    config = SwinOptimiserConfig()
    optimiser = config.adamw(module)
    clip = GradientClipping()
    raw = torch.randint(0, 255, (args.crops, 2, *[args.crop] * 3), dtype=torch.uint8)
    ones = torch.ones(args.crops, 2)
    batch = {"volumes": raw, "scale": ones * 0.02, "zero_point": ones * 100}
    views = torch.randn(2 * args.crops, 2, *[args.crop] * 3)
    parts: dict[str, list[float]] = {}

    def part(name: str, run: Callable[[], object]) -> object:
        before = time.process_time()
        value = run()
        if args.parts:
            parts.setdefault(name, []).append(time.process_time() - before)
        return value

    def step(number: int) -> None:
        values = part("forward", lambda: module.losses(batch, number))
        part("backward", values["loss"].backward)
        part("clip", lambda: clip(module, config.clip, number))
        part("optimiser", optimiser.step)
        optimiser.zero_grad(set_to_none=True)

    def bound(_: int) -> None:
        outputs = part("bare forward", lambda: module.heads(module.encoder(views)[-1]))
        loss = sum(output.float().square().mean() for output in outputs)
        part("bare backward", loss.backward)
        module.zero_grad(set_to_none=True)

    return {"bound": bound, "step": step}, parts


def peak(name: str, args: argparse.Namespace) -> float:
    """Return the peak memory of a process that runs only one of the two [GiB]."""
    sizes = [f"--{key}={getattr(args, key)}" for key in ("crop", "width", "crops")]
    ran = subprocess.run(
        [sys.executable, __file__, "--only", name, *sizes], check=True, capture_output=True, text=True
    )
    return float(ran.stdout)


if __name__ == "__main__":
    main()
