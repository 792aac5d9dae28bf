"""Sinkhorn-Knopp centring: teacher logits to target probabilities that use all prototypes equally."""

import torch
from torch import Tensor

from braindino.pretraining.distributed import maximum_over_processes, sum_over_processes


@torch.no_grad()
def sinkhorn_knopp(logits: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Target probabilities, centred over all processes so that every prototype gets equal weight.

    Caron et al., SwAV (2020), as DINOv2 and DINOv3 use it: with Q = exp(logits / temperature), `iterations`
    times normalise every prototype over all samples, then every sample over all prototypes. Here in scaling
    form: Q = diag(v) E diag(u) with a fixed E, so one iteration is two matrix-vector products and one
    all-reduce of K numbers, and the totals cancel.

    Nothing overflows or vanishes at any logits: each prototype is shifted by its maximum over all samples
    (exact, u takes it up) and each sample by what then remains of its own maximum. The latter alone would
    change the result, as the first sum over samples would weight them differently; the starting v makes good
    for it.

    Args:
        logits: (n, K) cosine similarities to the prototypes; n may differ between processes and may be 0.
        temperature: sharpness of the targets (0.04 to 0.07).
        iterations: 3 in DINOv2 and DINOv3.

    Returns:
        (n, K) float32; each row sums to 1.
    """
    with torch.autocast(logits.device.type, enabled=False):
        return _scale(logits.float() / temperature, iterations)


def _scale(scaled: Tensor, iterations: int) -> Tensor:
    empty = scaled.new_full((1, scaled.shape[1]), -torch.inf)
    peak = (scaled if scaled.shape[0] else empty).amax(dim=0)
    scaled -= maximum_over_processes(peak)
    remainder = scaled.amax(dim=1)
    kernel = scaled.sub_(remainder[:, None]).exp_()
    per_sample = remainder.exp()
    for _ in range(iterations):
        per_prototype = sum_over_processes(per_sample @ kernel).reciprocal_()
        per_prototype /= per_prototype.amax()  # the scale cancels, but would grow by n / K each time
        per_sample = (kernel @ per_prototype).reciprocal_()
    return kernel.mul_(per_prototype).mul_(per_sample[:, None])
