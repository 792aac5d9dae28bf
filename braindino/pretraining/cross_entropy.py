"""Cross entropy with soft targets over tens of thousands of prototypes, with few passes over the logits."""

from collections.abc import Iterator

import torch
from torch import Tensor

# Logits per piece on a CPU, so that the passes over it hit the cache; an accelerator takes all rows at once.
PIECE = 2**18


def soft_cross_entropy(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Cross entropy of softmax(logits / temperature) with target probabilities, in float32.

    Written as lse(s) - s.t, which is the same because a target sums to 1. The gradient, softmax(s) - t, is
    computed from the logits again, so that nothing of their size is kept.

    Args:
        logits: (..., K).
        targets: (..., K) with as many or fewer leading dimensions; missing ones are repeated.

    Returns:
        The shape of `logits` without K.
    """
    rows = logits.reshape(-1, max(1, targets[..., 0].numel()), logits.shape[-1])
    loss: Tensor = _SoftCrossEntropy.apply(rows, targets.reshape(-1, targets.shape[-1]), temperature)
    return loss.view(logits.shape[:-1])


class _SoftCrossEntropy(torch.autograd.Function):
    """Logits (C, S, K), targets (S, K) -> (C, S)."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, logits: Tensor, targets: Tensor, temperature: float
    ) -> Tensor:
        totals = logits.new_empty(logits.shape[:-1], dtype=torch.float32)
        loss = torch.empty_like(totals)
        with torch.autocast(logits.device.type, enabled=False):  # or vecdot falls to bfloat16
            for crop, piece in _pieces(logits):
                scaled = logits[crop, piece].float() / temperature
                totals[crop, piece] = scaled.logsumexp(dim=-1)
                loss[crop, piece] = totals[crop, piece] - torch.linalg.vecdot(scaled, targets[piece])
        ctx.save_for_backward(logits, targets, totals)
        ctx.temperature = temperature  # type: ignore[attr-defined]
        return loss

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor, None, None]:
        logits, targets, totals = ctx.saved_tensors  # type: ignore[attr-defined]
        temperature: float = ctx.temperature  # type: ignore[attr-defined]
        result = torch.empty_like(logits)
        weights = (gradient / temperature).unsqueeze(-1)
        for crop, piece in _pieces(logits):
            scaled = logits[crop, piece].float() / temperature
            difference = scaled.sub_(totals[crop, piece].unsqueeze(-1)).exp_().sub_(targets[piece])
            result[crop, piece] = difference.mul_(weights[crop, piece])
        return result, None, None


def _pieces(logits: Tensor) -> Iterator[tuple[int, slice]]:
    """(crop, rows) that cover (C, S, K) piece by piece."""
    crops, samples, prototypes = logits.shape
    rows = max(1, PIECE // prototypes) if logits.device.type == "cpu" else max(1, samples)
    for crop in range(crops):
        for start in range(0, samples, rows):
            yield crop, slice(start, start + rows)
