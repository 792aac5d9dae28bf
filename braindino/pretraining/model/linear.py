"""Linear layers computed by oneDNN on a CPU, where that is a tenth faster than torch's own."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

# The operator that torch.compile uses for a linear layer; uncompiled, torch uses another library.
_OPERATOR = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
_is_available: Callable[[], bool] = torch.backends.mkldnn.is_available
_ONEDNN = _OPERATOR if _is_available() else None


class Linear(nn.Linear):
    """`nn.Linear` computed by `linear`: equal parameters, names and initialisation."""

    def forward(self, input: Tensor) -> Tensor:
        """Apply the layer: (..., in_features) -> (..., out_features)."""
        return linear(input, self.weight, self.bias)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return `F.linear` to float precision, computed by oneDNN where that is faster.

    oneDNN computes x @ weight.T and, in the backward pass, gradient @ weight; the gradient of the weight
    stays with `torch.mm`, which is as fast at it (`benchmarks/linear.py`). Any device but a CPU, any
    precision but float32 and compiled code are left to `F.linear`.

    Args:
        x: (..., n).
        weight: (m, n).
        bias: (m,), or None.

    Returns:
        (..., m).
    """
    plain = (
        _ONEDNN is None
        or torch.compiler.is_compiling()
        or x.device.type != "cpu"
        or x.dtype != torch.float32
        or weight.dtype != torch.float32
        or torch.is_autocast_enabled("cpu")
        or not x.numel()
        or x.dim() < 2
    )
    if plain:
        return F.linear(x, weight, bias)
    product: Tensor = _Linear.apply(x, weight, bias)
    return product


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert _ONEDNN is not None
    product: Tensor = _ONEDNN(x, weight, bias, "none", [], "")
    return product


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    # oneDNN's operator has no derivative: without this, a second one would be 0, with a warning only.
    @once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors  # type: ignore[attr-defined]
        of_x, of_weight, of_bias = ctx.needs_input_grad  # type: ignore[attr-defined]
        rows = gradient.flatten(0, -2)
        return (
            _product(gradient, weight.T, None) if of_x else None,
            rows.T @ x.flatten(0, -2) if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
        )
