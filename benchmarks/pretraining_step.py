"""Compare a pretraining step with its bound: timm's passes on the same tensors.

The bound is forward and backward of the student on 2 global and 8 local crops and forward of the teacher on
the global ones, without masks, heads, losses, views or optimiser. The two run in turn; ratios are of one run.

    python benchmarks/pretraining_step.py --model small --batch 8
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from braindino.encoders.vit import create_vit
from braindino.pretraining import DINOModule
from braindino.pretraining.config import LossConfig
from braindino.pretraining.losses.objective import distil
from braindino.pretraining.model.heads import HeadConfig
from braindino.pretraining.optimiser import OptimiserConfig, clip_gradients, create_optimiser
from braindino.pretraining.views.masking import MaskConfig, sample_masks
from braindino.pretraining.views.rng import Randomness
from braindino.pretraining.views.views import ViewsConfig, make_views

T = TypeVar("T")
Run = Callable[[int], None]


def parse() -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=["tiny", "small", "base"], default="tiny")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--prototypes", type=int, default=65_536)
    parser.add_argument("--drop-path", type=float, default=0.0)
    parser.add_argument("--global-size", type=int, default=224)
    parser.add_argument("--local-size", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--cpu-seconds",
        action="store_true",
        help="measure CPU seconds of all threads, which other jobs disturb less than seconds by the clock",
    )
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--parts", action="store_true", help="time the parts of a step as well")
    parser.add_argument(
        "--only", choices=["bound", "step"], help="run one of the two, to compare peak memory"
    )
    return parser.parse_args()


class Clock:
    """Read the time, and time the parts of a step.

    Attributes:
        parts: seconds of each part, one entry per step; empty unless `--parts` is given.
    """

    def __init__(self, args: argparse.Namespace) -> None:
        self.cuda = torch.device(args.device).type == "cuda"
        self.cpu_seconds = args.cpu_seconds
        self.times_parts = args.parts
        self.parts: dict[str, list[float]] = {}

    def now(self) -> float:
        """Return seconds, after the device has finished its work."""
        if self.cuda:
            torch.cuda.synchronize()
        return time.process_time() if self.cpu_seconds else time.perf_counter()

    def part(self, name: str, run: Callable[[], T]) -> T:
        """Run a part of a step and record its seconds."""
        if not self.times_parts:
            return run()
        start = self.now()
        value = run()
        self.parts.setdefault(name, []).append(self.now() - start)
        return value


def build(args: argparse.Namespace, clock: Clock) -> dict[str, Run]:
    """Return the bound and the step, each as a function of the number of the repeat."""
    device = torch.device(args.device)
    head = HeadConfig(prototypes=args.prototypes)
    architecture = f"vit_{args.model}_patch16_dinov3_qkvb"
    module = DINOModule(
        architecture,
        in_chans=1,
        drop_path=args.drop_path,
        views=ViewsConfig(global_size=args.global_size, local_size=args.local_size),
        dino_head=head,
        ibot_head=head,
    ).to(device)
    student, teacher = module.student.train(), module.teacher
    optimiser = create_optimiser(student, len(student.backbone.blocks), OptimiserConfig())
    bare_student = create_vit(architecture, in_chans=1).to(device)
    bare_teacher = create_vit(architecture, in_chans=1).to(device).eval().requires_grad_(False)
    raw = torch.randint(0, 255, (args.batch, 256, 256), dtype=torch.uint8, device=device)
    ones = torch.ones(args.batch, device=device)
    batch = {"slices": raw, "scale": ones * 0.02, "zero_point": ones * 30}
    grid = (args.global_size // 16, args.global_size // 16)
    views = make_views(batch, module.views, Randomness.of(0, 0, 0, device))
    images, local_images = views.global_crops.flatten(0, 1), views.local_crops.flatten(0, 1)

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=args.bf16)

    def bound(_: int) -> None:
        with autocast():
            with torch.no_grad():
                bare_teacher.forward_features(images)
            outputs = [bare_student.forward_features(x) for x in (images, local_images)]
            loss = sum(x.float().mean() for x in outputs)
        loss.backward()
        bare_student.zero_grad()

    def step(number: int) -> None:
        rng = Randomness.of(0, number, 0, device)
        with autocast():
            made = clock.part("views", lambda: make_views(batch, module.views, rng))
            masks = clock.part(
                "masks", lambda: sample_masks(2 * args.batch, grid, MaskConfig(), rng.host).to(device)
            )
            values = clock.part(
                "forward",
                lambda: distil(student, teacher, made, masks, LossConfig(), 0.05, 3, rng.device),
            )
        clock.part("backward", values["loss"].backward)
        clock.part("clip", lambda: clip_gradients(student.parts(), 3.0))
        clock.part("optimiser", optimiser.step)
        optimiser.zero_grad()
        clock.part("EMA update", lambda: teacher.ema_update(student, 0.006))

    return {"bound": bound, "step": step}


def measure(runs: dict[str, Run], repeats: int, clock: Clock) -> dict[str, list[float]]:
    """Return the seconds of each run, in turn; the first round warms up and is dropped."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = clock.now()
            run(repeat)
            if repeat:
                times[name].append(clock.now() - start)
    return times


def peak_memory(cuda: bool) -> float:
    """Return the peak memory of the device or of this process [GiB]."""
    if cuda:
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report(args: argparse.Namespace, times: dict[str, list[float]], clock: Clock) -> None:
    """Print the table."""
    crops = f"2 x {args.global_size} + 8 x {args.local_size}"
    print(f"{args.model}, batch {args.batch}, {crops}, K {args.prototypes}")
    unit = "CPU seconds" if args.cpu_seconds else "seconds by the clock"
    print(f"drop path {args.drop_path}, {args.device}, {torch.get_num_threads()} threads, {unit}")
    for name, values in times.items():
        print(f"{name:<20}{statistics.median(values):9.3f} s")
    if not args.only:
        ratios = [s / b for s, b in zip(times["step"], times["bound"], strict=True)]
        spread = f"({min(ratios):.3f} to {max(ratios):.3f})"
        print(f"{'step / bound':<20}{statistics.median(ratios):9.3f}   {spread}")
    for name, values in clock.parts.items():
        print(f"  {name:<18}{statistics.median(values[1:]):9.3f} s")
    print(f"{'peak memory':<20}{peak_memory(clock.cuda):9.2f} GiB")


def main() -> None:
    args = parse()
    clock = Clock(args)
    runs = build(args, clock)
    if args.only:
        runs = {args.only: runs[args.only]}
    report(args, measure(runs, args.repeats, clock), clock)


if __name__ == "__main__":
    main()
