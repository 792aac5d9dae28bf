"""Linear layers by oneDNN: values and gradients of a product in float64, and what is left to torch."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from braindino.pretraining.model import linear as room
from braindino.pretraining.model.linear import Linear, linear


def case(shape: tuple[int, ...], bias: bool) -> list[torch.Tensor | None]:
    torch.manual_seed(0)
    return [torch.randn(*shape, 12), torch.randn(20, 12), torch.randn(20) if bias else None]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (2, 3, 4), (0,)])
def test_linear_equals_a_product_in_float64(shape: tuple[int, ...], bias: bool) -> None:
    given = case(shape, bias)
    ours = [None if t is None else t.clone().requires_grad_() for t in given]
    exact = [None if t is None else t.double().requires_grad_() for t in given]
    x, weight, offset = exact
    assert x is not None
    assert weight is not None
    expected = x @ weight.T + (0 if offset is None else offset)
    answer = linear(*ours)  # type: ignore[arg-type]
    torch.testing.assert_close(answer.double(), expected, rtol=1e-5, atol=1e-5)
    for result in (answer, expected):
        result.sin().sum().backward()
    for tensor, reference in zip(ours, exact, strict=True):
        if tensor is not None and reference is not None:
            assert tensor.grad is not None
            assert reference.grad is not None
            torch.testing.assert_close(tensor.grad.double(), reference.grad, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_linear_computes_only_the_requested_gradients(wanted: int) -> None:
    given = case((4,), True)
    tensor = given[wanted]
    assert tensor is not None
    tensor.requires_grad_()
    linear(*given).square().sum().backward()  # type: ignore[arg-type]
    assert [t is not None and t.grad is not None for t in given] == [i == wanted for i in range(3)]


def test_linear_accepts_a_gradient_that_is_not_contiguous() -> None:
    x, weight, _ = case((3, 5), False)
    assert x is not None
    assert weight is not None
    grown = x.clone().requires_grad_()
    linear(grown, weight, None).transpose(0, 1)[1:, ::2].sum().backward()
    expected = torch.zeros_like(x)
    expected[::2, 1:] = weight.sum(dim=0)
    torch.testing.assert_close(grown.grad, expected)


def test_linear_refuses_a_second_derivative() -> None:
    x, weight, _ = case((3,), False)
    assert x is not None
    assert weight is not None
    weight.requires_grad_()
    (first,) = torch.autograd.grad(
        linear(x.requires_grad_(), weight, None).square().sum(), x, create_graph=True
    )
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.square().sum().backward()


def _autocast(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return linear(x, weight, None)


OTHERS: list[Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = [
    _autocast,
    lambda x, weight: linear(x.double(), weight.double(), None),
    lambda x, weight: linear(x.bfloat16(), weight.bfloat16(), None),
    lambda x, weight: linear(x.to("meta"), weight.to("meta"), None),
]


@pytest.mark.parametrize("run", OTHERS, ids=["autocast", "double", "half", "meta"])
def test_linear_leaves_other_precisions_and_devices_to_torch(
    monkeypatch: pytest.MonkeyPatch, run: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> None:
    monkeypatch.setattr(room, "_product", lambda *_: pytest.fail("asked oneDNN"))
    x, weight, _ = case((4,), False)
    assert x is not None
    assert weight is not None
    assert run(x, weight).shape == (4, 20)


def test_linear_without_the_operator_uses_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    given = case((4,), True)
    expected = F.linear(*given)  # type: ignore[arg-type]
    monkeypatch.setattr(room, "_ONEDNN", None)
    assert torch.equal(linear(*given), expected)  # type: ignore[arg-type]


def test_linear_layer_has_the_parameters_of_torchs() -> None:
    torch.manual_seed(1)
    layer = Linear(12, 20)
    torch.manual_seed(1)
    theirs = nn.Linear(12, 20)
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), theirs.parameters(), strict=True))
    assert layer.state_dict().keys() == theirs.state_dict().keys()
    x = torch.randn(5, 12)
    torch.testing.assert_close(layer(x), theirs(x))
