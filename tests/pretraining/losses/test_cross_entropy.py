"""The fused cross entropy against torch's, in value and gradient, for any size of chunk and piece."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from braindino.pretraining.losses import cross_entropy
from braindino.pretraining.losses.cross_entropy import prototype_cross_entropy

PROTOTYPES, WIDTH = 11, 5


def inputs(crops: int, samples: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw points, prototypes, targets of each crop and weights."""
    g = torch.Generator().manual_seed(0)
    points = torch.randn(crops, samples, WIDTH, generator=g)
    prototypes = torch.randn(PROTOTYPES, WIDTH, generator=g)
    targets = torch.randn(crops, samples, PROTOTYPES, generator=g).softmax(-1)
    return points, prototypes, targets, torch.rand(crops, samples, generator=g)


def rows_of(targets: Tensor) -> Callable[[slice], list[Tensor]]:
    return lambda rows: list(targets[:, rows])


def with_gradients(
    points: Tensor, prototypes: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, ...]:
    """Return three times the loss, and the gradients of points and prototypes."""
    points, prototypes = points.clone().requires_grad_(), prototypes.clone().requires_grad_()
    value = 3 * loss(points, prototypes)
    return (value.detach(), *torch.autograd.grad(value, (points, prototypes)))


@pytest.mark.parametrize("piece", [1, 40, 10**6])
@pytest.mark.parametrize("chunk", [1, 100, 10**6])
@pytest.mark.parametrize("shape", [(1, 6), (3, 7), (3, 0), (1, 0)])
def test_prototype_cross_entropy_equals_torch_in_value_and_gradients(
    shape: tuple[int, int], chunk: int, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "PIECE", piece)
    monkeypatch.setitem(cross_entropy.CHUNK, "cpu", chunk)
    points, prototypes, targets, weights = inputs(*shape)

    def slow(points: Tensor, prototypes: Tensor) -> Tensor:
        logs = F.log_softmax(points @ prototypes.T / 0.1, dim=-1)
        return -((targets.double() * logs).sum(-1) * weights.double()).sum()

    expected = with_gradients(points.double(), prototypes.double(), slow)
    results = with_gradients(
        points,
        prototypes,
        lambda x, w: prototype_cross_entropy(x, w, rows_of(targets), weights, 0.1),
    )
    for a, b in zip(results, expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


def test_prototype_cross_entropy_without_gradients_has_the_same_value() -> None:
    points, prototypes, targets, weights = inputs(2, 6)
    prototypes.requires_grad_()
    expected = prototype_cross_entropy(points, prototypes, rows_of(targets), weights, 0.1)
    with torch.no_grad():
        value = prototype_cross_entropy(points, prototypes, rows_of(targets), weights, 0.1)
    assert torch.equal(value, expected.detach())


def test_prototype_cross_entropy_refuses_a_second_backward_pass() -> None:
    points, prototypes, targets, weights = inputs(2, 6)
    loss = prototype_cross_entropy(points.requires_grad_(), prototypes, rows_of(targets), weights, 0.1)
    loss.backward(retain_graph=True)
    with pytest.raises(TypeError):
        loss.backward()


def test_prototype_cross_entropy_under_autocast_has_only_products_in_bfloat16() -> None:
    points, prototypes, targets, weights = inputs(2, 64)
    targets = (targets * 8).softmax(-1)

    def loss(x: Tensor, w: Tensor) -> Tensor:
        return prototype_cross_entropy(x, w, rows_of(targets), weights, 0.1)

    def rounded(x: Tensor, w: Tensor) -> Tensor:
        logits = ((x / 0.1).bfloat16() @ w.bfloat16().T).float()
        return -((targets * F.log_softmax(logits, dim=-1)).sum(-1) * weights).sum()

    with torch.autocast("cpu", torch.bfloat16):
        value, *gradients = with_gradients(points, prototypes, loss)
    expected, *exact = with_gradients(points, prototypes, rounded)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    for gradient, other in zip(gradients, exact, strict=True):
        assert gradient.dtype == torch.float32
        assert (gradient - other).norm() < 0.02 * other.norm()


def test_prototype_cross_entropy_of_extreme_logits_does_not_overflow() -> None:
    points, prototypes = torch.ones(1, 1, 1, requires_grad=True), torch.tensor([[1e4], [-1e4], [0.0]])
    target = torch.tensor([[[1.0, 0.0, 0.0]]])
    loss = prototype_cross_entropy(points, prototypes, rows_of(target), torch.ones(1, 1), 0.1)
    loss.backward()
    assert loss.item() == 0
    assert points.grad is not None
    assert points.grad.abs().max() == 0
