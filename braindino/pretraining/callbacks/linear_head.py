"""Fit a linear head by L-BFGS: equal features give an equal head on every process."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_ITERATIONS = 200  # of L-BFGS; the objective is convex
MIN_GRADIENT = 1e-7  # largest entry of the gradient at which the fit ends
MIN_CHANGE = 1e-12  # of weights or objective between two iterations


@dataclass(frozen=True)
class LinearHead:
    """Linear layer behind a standardisation.

    Attributes:
        mean: (D,) subtracted from the features.
        scale: (D,) by which they are divided.
        weight: (D, K).
        bias: (K,).
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Return the outputs of the head: (..., D) -> (..., K)."""
        return ((features - self.mean) / self.scale) @ self.weight + self.bias


def fit_linear_head(
    features: Tensor,
    targets: Tensor,
    outputs: int,
    loss: Callable[[Tensor, Tensor], Tensor],
    weight_decay: float,
) -> LinearHead:
    """Minimise `loss` + weight_decay / 2 * |weight|^2 over all rows, starting from zero.

    Features are standardised and divided by sqrt(D), so that a row has length 1 on average and `weight_decay`
    means the same for every width. No random number is drawn.

    Args:
        features: (N, D), in the precision of the fit.
        targets: (N,) or (N, K), as `loss` takes them.
        outputs: K.
        loss: mean loss of outputs (N, K) and `targets`; convex in the outputs.
        weight_decay: strength of the penalty.

    Returns:
        The head, on the device and in the precision of `features`.
    """
    mean, spread = features.mean(dim=0), features.std(dim=0, correction=0)
    scale = torch.where(spread > 1e-6, spread, 1.0) * features.shape[1] ** 0.5
    rows = (features - mean) / scale
    weight = rows.new_zeros(rows.shape[1], outputs, requires_grad=True)
    bias = rows.new_zeros(outputs, requires_grad=True)
    optimiser: torch.optim.Optimizer = torch.optim.LBFGS(
        [weight, bias],
        max_iter=MAX_ITERATIONS,
        tolerance_grad=MIN_GRADIENT,
        tolerance_change=MIN_CHANGE,
        line_search_fn="strong_wolfe",
    )

    def closure() -> float:
        optimiser.zero_grad()
        objective: Tensor = loss(rows @ weight + bias, targets) + weight_decay / 2 * weight.square().sum()
        torch.autograd.backward(objective)
        return objective.item()

    with torch.enable_grad():
        optimiser.step(closure)
    return LinearHead(mean, scale, weight.detach(), bias.detach())
