"""A step of BrainSegFounder's pretraining against its bound: the bare passes of the same network.

The bound is forward and backward of encoder and heads on the two views' tensors, without turns, cuts, losses'
targets, clipping or optimiser. The two run in turn; ratios are of one run.

    python benchmarks/swin_step.py --crop 64 --width 24 --repeats 3
    python benchmarks/swin_step.py --crop 96 --width 24 --repeats 2
"""

import argparse
import os
import resource
import statistics
import time

import torch

from braindino.encoders.volumes.swin import SwinShape, swin
from braindino.volumetric import SwinSSLModule
from braindino.volumetric.heads import SSLHeads
from braindino.volumetric.optimiser import Clipping


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--crops", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    shape = SwinShape(channels=("t1", "flair"), width=args.width, legacy_merging=False)
    module = SwinSSLModule(width=args.width)
    module.shape, module.encoder, module.heads = shape, swin(shape), SSLHeads(16 * args.width, 2)
    optimiser = torch.optim.AdamW(module.parameters(), lr=5e-4, weight_decay=0.1)
    clip = Clipping()
    raw = torch.randint(0, 255, (args.crops, 2, *[args.crop] * 3), dtype=torch.uint8)
    ones = torch.ones(args.crops, 2)
    batch = {"volumes": raw, "step": ones * 0.02, "zero": ones * 100}
    views = torch.randn(2 * args.crops, 2, *[args.crop] * 3)

    def step(number: int) -> None:
        loss = module.losses(batch, number)["loss"]
        loss.backward()
        clip(module, 1.0, number)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    def bound(number: int) -> None:
        outputs = module.heads(module.encoder(views)[-1])
        sum(output.float().square().mean() for output in outputs).backward()
        module.zero_grad(set_to_none=True)

    times: dict[str, list[float]] = {"bound": [], "step": []}
    for number in range(args.repeats + 1):
        for name, run in (("bound", bound), ("step", step)):
            before = time.perf_counter()
            run(number)
            if number:  # the first of each warms up
                times[name].append(time.perf_counter() - before)
    ratios = [step / bound for step, bound in zip(times["step"], times["bound"], strict=True)]
    print(f"{args.crops} crops of {args.crop}^3, 2 channels, width {args.width}")
    print(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}")
    print(f"bound  {statistics.median(times['bound']):8.2f} s")
    print(f"step   {statistics.median(times['step']):8.2f} s")
    print(f"ratio  {statistics.median(ratios):8.3f} (from {min(ratios):.3f} to {max(ratios):.3f}; aim: 1.15)")
    print(f"peak memory of both {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
