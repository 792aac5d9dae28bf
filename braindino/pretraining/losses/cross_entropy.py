"""Cross entropy with prototypes against soft targets, computed in pieces to save memory."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

# Logits of one matrix product: enough to keep the device busy, few enough not to be the peak of memory.
CHUNK = {"cpu": 2**25, "cuda": 2**27}
PIECE = 2**18  # logits per pass over them on a CPU, so that the passes hit the cache


def prototype_cross_entropy(
    points: Tensor,
    prototypes: Tensor,
    targets: Callable[[slice], Sequence[Tensor]],
    weights: Tensor,
    temperature: float,
) -> Tensor:
    """Return a weighted sum of cross entropies of softmax(points @ prototypes.T / temperature).

    Each is written as lse(s) - s.t, which is the same because a target sums to 1. With tens of thousands of
    prototypes the logits are by far the largest matrix of a step, so they are computed chunk by chunk and
    turned into their gradient, softmax(s) - t, in place: the forward pass also computes the gradients of
    points and prototypes, and nothing of the logits' size is stored or computed twice.

    Args:
        points: (C, S, D), C crops of S samples; matrix products are in autocast's precision.
        prototypes: (K, D).
        targets: returns (rows, K) float32 for each of the C crops, of the samples in a slice of S.
        weights: (C, S).
        temperature: temperature of the softmax.

    Returns:
        A float32 scalar. Its backward pass can be run once.
    """
    device = points.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else points.dtype
    inputs = (points, prototypes, targets, weights, temperature, dtype, torch.is_grad_enabled())
    loss: Tensor = _PrototypeCrossEntropy.apply(*inputs)
    return loss


class _PrototypeCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        points: Tensor,
        prototypes: Tensor,
        targets: Callable[[slice], Sequence[Tensor]],
        weights: Tensor,
        temperature: float,
        dtype: torch.dtype,
        differentiate: bool,
    ) -> Tensor:
        crops, samples, _ = points.shape
        rows = max(1, CHUNK.get(points.device.type, CHUNK["cuda"]) // (crops * len(prototypes)))
        compared = prototypes.detach().to(dtype)
        scaled = (points.detach() / temperature).to(dtype)
        space = points.new_empty(crops * min(rows, samples), len(prototypes), dtype=dtype)
        to_points, to_prototypes = torch.empty_like(points), torch.empty_like(prototypes)
        parts: list[Tensor] = []
        with torch.autocast(points.device.type, enabled=False):
            for start in range(0, samples, rows):
                chunk = slice(start, min(start + rows, samples))
                x = scaled[:, chunk].flatten(0, 1)
                logits = torch.mm(x, compared.T, out=space[: len(x)])
                for piece in _pieces(chunk, len(prototypes), points.device):
                    inner = slice(piece.start - start, piece.stop - start)
                    for crop, target in enumerate(targets(piece)):
                        part = torch.unflatten(logits, 0, (crops, -1))[crop, inner]
                        parts.append(_consume(part, target, weights[crop, piece], differentiate))
                if differentiate:
                    to_points[:, chunk] = torch.unflatten(logits @ compared, 0, (crops, -1)) / temperature
                    # The first product writes, later ones add.
                    if dtype == prototypes.dtype:
                        torch.addmm(to_prototypes, logits.T, x, beta=float(start > 0), out=to_prototypes)
                    else:
                        product = logits.T @ x
                        to_prototypes = to_prototypes + product if start else product.to(prototypes.dtype)
        if not samples:
            to_prototypes.zero_()
        ctx.gradients = (to_points, to_prototypes)  # type: ignore[attr-defined]
        return torch.stack(parts).sum() if parts else weights.sum()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        to_points, to_prototypes = ctx.gradients  # type: ignore[attr-defined]
        # They are changed in place, so that a second backward pass would be wrong.
        ctx.gradients = None  # type: ignore[attr-defined]
        return to_points.mul_(gradient), to_prototypes.mul_(gradient), None, None, None, None, None


def _consume(logits: Tensor, target: Tensor, weights: Tensor, differentiate: bool) -> Tensor:
    """Return the weighted cross entropy of (rows, K) logits, which become its gradient."""
    values = logits.float()  # the logits themselves when they are float32
    peak = values.amax(dim=-1, keepdim=True)
    agreement: Tensor = torch.linalg.vecdot(values, target)
    total = values.sub_(peak).exp_().sum(dim=-1)
    if differentiate:
        values.mul_((weights / total)[:, None]).addcmul_(target, weights[:, None], value=-1)
        if values is not logits:
            logits.copy_(values)
    return ((total.log() + peak[:, 0] - agreement) * weights).sum()


def _pieces(chunk: slice, prototypes: int, device: torch.device) -> Iterator[slice]:
    """Yield the parts of a chunk of samples over which the passes are made."""
    rows = max(1, PIECE // prototypes) if device.type == "cpu" else chunk.stop - chunk.start
    for start in range(chunk.start, chunk.stop, rows):
        yield slice(start, min(start + rows, chunk.stop))
