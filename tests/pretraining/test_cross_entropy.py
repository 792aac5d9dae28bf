"""The fused cross entropy against torch's own, in value and gradient, for any size of piece."""

import pytest
import torch
from torch.nn import functional as F

from braindino.pretraining import cross_entropy
from braindino.pretraining.cross_entropy import soft_cross_entropy


@pytest.mark.parametrize("piece", [1, 40, 10**6])
@pytest.mark.parametrize("shape", [(6, 11), (3, 4, 11), (0, 11), (0, 4, 11)])
def test_equals_torch_in_value_and_gradient(
    shape: tuple[int, ...], piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_entropy, "PIECE", piece)
    g = torch.Generator().manual_seed(0)
    logits = (torch.randn(*shape, generator=g) * 3).requires_grad_()
    targets = torch.randn(*shape[-2:], generator=g).softmax(-1)
    weights = torch.randn(shape[:-1], generator=g)
    reference = logits.detach().double().requires_grad_()
    expected = -(targets.double() * F.log_softmax(reference / 0.1, dim=-1)).sum(-1)
    (expected * weights).sum().backward()
    loss = soft_cross_entropy(logits, targets, 0.1)
    (loss * weights).sum().backward()
    assert loss.shape == shape[:-1]
    assert logits.grad is not None
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits.grad.double(), reference.grad, rtol=1e-4, atol=1e-5)


def test_bfloat16_logits_give_a_float32_loss_and_a_bfloat16_gradient() -> None:
    logits = torch.randn(4, 9).bfloat16().requires_grad_()
    targets = torch.randn(4, 9).softmax(-1)
    loss = soft_cross_entropy(logits, targets, 0.1)
    loss.sum().backward()
    assert loss.dtype == torch.float32
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16
    expected = -(targets * F.log_softmax(logits.detach().float() / 0.1, dim=-1)).sum(-1)
    torch.testing.assert_close(loss, expected)


def test_extreme_logits_do_not_overflow() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = soft_cross_entropy(logits, torch.tensor([[1.0, 0.0, 0.0]]), 0.1)
    loss.sum().backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_is_computed_in_float32_under_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 5, 4096, generator=generator)
    targets = (3 * torch.randn(5, 4096, generator=generator)).softmax(-1)
    expected = soft_cross_entropy(logits, targets, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        found = soft_cross_entropy(logits, targets, 0.1)
    assert torch.equal(found, expected)
