"""Sinkhorn-Knopp centring: teacher logits to targets that use all prototypes equally."""

from dataclasses import dataclass

import torch
from torch import Tensor

from braindino.pretraining.distributed import maximum_over_processes, sum_over_processes
from braindino.pretraining.losses.cross_entropy import PIECE


@dataclass(frozen=True)
class Targets:
    """Target probabilities of n samples as three factors, so that rows are computed on demand.

    Attributes:
        kernel: (n, K).
        per_prototype: (K,).
        per_sample: (n,).
    """

    kernel: Tensor
    per_prototype: Tensor
    per_sample: Tensor

    def rows(self, samples: slice) -> Tensor:
        """Return the probabilities of some samples: (rows, K) float32, each row sums to 1."""
        return (self.kernel[samples] * self.per_prototype).mul_(self.per_sample[samples, None])


@torch.no_grad()
def sinkhorn_knopp(logits: Tensor, temperature: float, iterations: int = 3) -> Targets:
    """Return target probabilities, centred so that every prototype gets equal weight.

    Caron et al., SwAV (2020), over all processes as DINOv2 and DINOv3 use it: with Q =
    exp(logits / temperature), `iterations` times normalise every prototype over all samples, then every
    sample over all prototypes. Here in scaling form: Q = diag(v) E diag(u) with a fixed E, so one iteration
    is two matrix-vector products and one all-reduce of K numbers, and the totals cancel.

    Nothing overflows or vanishes at any logits: each prototype is shifted by its maximum over all samples
    (exact, u absorbs it) and each sample by its maximum after that. The latter alone would change the
    result, as the first sum over samples would weight them differently; the initial v corrects this.

    Args:
        logits: (n, K) cosine similarities to the prototypes; n may differ between processes and may be 0.
            Overwritten: their memory becomes the kernel's, when they are float32.
        temperature: sharpness of the targets (0.04 to 0.07).
        iterations: 3 in DINOv2 and DINOv3.
    """
    with torch.autocast(logits.device.type, enabled=False):
        return _scale(logits.float(), temperature, iterations)


def _scale(kernel: Tensor, temperature: float, iterations: int) -> Targets:
    samples, prototypes = kernel.shape
    empty = kernel.new_full((1, prototypes), -torch.inf)
    peak = maximum_over_processes((kernel if samples else empty).amax(dim=0))
    per_sample = kernel.new_empty(samples)
    rows = max(1, PIECE // prototypes) if kernel.device.type == "cpu" else max(1, samples)
    for start in range(0, samples, rows):  # so that the passes hit the cache
        piece = kernel[start : start + rows]
        remainder = piece.sub_(peak).div_(temperature).amax(dim=1)
        piece.sub_(remainder[:, None]).exp_()
        per_sample[start : start + rows] = remainder
    per_sample.exp_()
    for _ in range(iterations):
        per_prototype = sum_over_processes(per_sample @ kernel).reciprocal_()
        per_prototype /= per_prototype.amax()  # the scale cancels, but would grow by n / K each time
        per_sample = (kernel @ per_prototype).reciprocal_()
    return Targets(kernel, per_prototype, per_sample)
