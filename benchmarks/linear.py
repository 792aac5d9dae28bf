"""Compare torch and oneDNN on the three matrix products of a linear layer, in GFLOP/s.

`braindino.pretraining.model.linear` uses oneDNN for two of them and torch for the third, by this measurement.

    OMP_NUM_THREADS=1 python benchmarks/linear.py
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from braindino.pretraining.model.linear import _product

PRODUCTS = {
    "x @ W.T": (lambda x, w, b, g: F.linear(x, w, b), lambda x, w, b, g: _product(x, w, b)),
    "gradient @ W": (lambda x, w, b, g: g @ w, lambda x, w, b, g: _product(g, w.T, None)),
    "gradient.T @ x": (lambda x, w, b, g: g.T @ x, lambda x, w, b, g: _product(g.T, x.T, None)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=384, help="of the transformer: 384 is ViT-S")
    parser.add_argument("--tokens", type=int, default=3216, help="16 crops of 224 with CLS and registers")
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    print(
        f"{given.tokens} tokens, {torch.get_num_threads()} threads, GFLOP/s of the CPU, best of",
        given.repeats,
    )
    print(f"{'':<14}" + "".join(f"{name:>18}" for name in PRODUCTS))
    print(f"{'':<14}" + f"{'torch  oneDNN':>18}" * len(PRODUCTS))
    width = given.width
    for into, out in ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)):
        tensors = [torch.randn(s) for s in ((given.tokens, into), (out, into), (out,), (given.tokens, out))]
        work = 2e-9 * given.tokens * into * out
        line = f"{into} to {out}".ljust(14)
        for pair in PRODUCTS.values():
            torchs, onednns = (work / seconds for seconds in best(pair, tensors, given.repeats))
            line += f"{torchs:>10.0f}{onednns:>8.0f}"
        print(line)


def best(pair: tuple[Callable[..., Tensor], ...], tensors: list[Tensor], repeats: int) -> list[float]:
    """Return the shortest CPU seconds of each, run in turn; the first round is dropped."""
    times: list[list[float]] = [[] for _ in pair]
    for _ in range(repeats + 1):
        for run, seconds in zip(pair, times, strict=True):
            start = time.process_time()
            run(*tensors)
            seconds.append(time.process_time() - start)
    return [min(seconds[1:]) for seconds in times]


if __name__ == "__main__":
    with torch.no_grad():
        main()
