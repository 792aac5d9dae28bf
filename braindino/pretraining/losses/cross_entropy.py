"""Cross entropy of points with prototypes against soft targets: logits made, used and dropped in pieces."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

# Logits of one matrix product. On a CPU large enough to keep it busy and small enough not to be the peak.
CHUNK = {"cpu": 2**25, "cuda": 2**27}
PIECE = 2**18  # logits per pass over them on a CPU, so that the passes hit the cache


def prototype_cross_entropy(
    points: Tensor,
    prototypes: Tensor,
    targets: Callable[[slice], Sequence[Tensor]],
    weights: Tensor,
    temperature: float,
) -> Tensor:
    """Weighted sum of the cross entropies of softmax(points @ prototypes.T / temperature), in float32.

    Each is written as lse(s) - s.t, which is the same because a target sums to 1. With tens of thousands of
    prototypes the logits are by far the largest matrix of a step, so they are made chunk by chunk, turned
    into their gradient, softmax(s) - t, in place, and used up: the gradients of points and prototypes come
    out of the forward pass, and nothing of the logits' size is kept or computed twice.

    Args:
        points: (C, S, D), C crops of S samples; matrix products are in autocast's precision.
        prototypes: (K, D).
        targets: (rows, K) float32 for each of the C crops, of the samples in a slice of S.
        weights: (C, S).

    Returns:
        A scalar. Its backward pass can be run once.
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
                        part = logits.unflatten(0, (crops, -1))[crop, inner]
                        parts.append(_consume(part, target, weights[crop, piece], differentiate))
                if differentiate:
                    to_points[:, chunk] = (logits @ compared).unflatten(0, (crops, -1)) / temperature
                    if dtype == prototypes.dtype:  # the first product writes, later ones add
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
        ctx.gradients = None  # type: ignore[attr-defined]  # they are changed in place, so only once
        return to_points.mul_(gradient), to_prototypes.mul_(gradient), None, None, None, None, None


def _consume(logits: Tensor, target: Tensor, weights: Tensor, differentiate: bool) -> Tensor:
    """Weighted cross entropy of (rows, K) logits, which become its gradient."""
    values = logits.float()  # the logits themselves when they are float32
    peak = values.amax(dim=-1, keepdim=True)
    agreement = torch.linalg.vecdot(values, target)
    total = values.sub_(peak).exp_().sum(dim=-1)
    if differentiate:
        values.mul_((weights / total)[:, None]).addcmul_(target, weights[:, None], value=-1)
        if values is not logits:
            logits.copy_(values)
    return ((total.log() + peak[:, 0] - agreement) * weights).sum()


def _pieces(chunk: slice, prototypes: int, device: torch.device) -> Iterator[slice]:
    """Parts of a chunk of samples over which the passes are made."""
    rows = max(1, PIECE // prototypes) if device.type == "cpu" else chunk.stop - chunk.start
    for start in range(chunk.start, chunk.stop, rows):
        yield slice(start, min(start + rows, chunk.stop))
