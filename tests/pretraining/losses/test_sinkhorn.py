"""Sinkhorn-Knopp against the published loop in float64, at any logits and over unequal processes."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from braindino.pretraining.losses import sinkhorn
from tests.helpers.processes import run_processes


def sinkhorn_knopp(logits: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Return all probabilities; the logits are copied, as they would be overwritten."""
    return sinkhorn.sinkhorn_knopp(logits.clone(), temperature, iterations).rows(slice(None))


def published_loop(logits: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Run the loop of SwAV, DINOv2 and DINOv3 in logarithms, so that it is right at any logits."""
    q = (logits.double() / temperature).T.numpy()
    prototypes, samples = q.shape

    def total(x: NDArray[np.float64], axis: int | None) -> NDArray[np.float64]:
        top = x.max(axis=axis, keepdims=True)
        return np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top

    q = q - total(q, None)
    for _ in range(iterations):
        q = q - total(q, 1) - np.log(prototypes)
        q = q - total(q, 0) - np.log(samples)
    return torch.from_numpy(np.exp(q + np.log(samples)).T.copy())


@pytest.mark.parametrize("scale", [0.01, 1.0, 10.0, 300.0])
@pytest.mark.parametrize(("samples", "prototypes"), [(6, 40), (40, 6), (1, 5)])
def test_sinkhorn_knopp_equals_the_published_loop(scale: float, samples: int, prototypes: int) -> None:
    logits = torch.randn(samples, prototypes, generator=torch.Generator().manual_seed(0)) * scale
    expected = published_loop(logits, 0.04)
    torch.testing.assert_close(sinkhorn_knopp(logits, 0.04).double(), expected, rtol=2e-4, atol=1e-6)


def test_sinkhorn_knopp_preserves_the_distribution_of_a_sample_far_below() -> None:
    logits = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    logits[2] -= 100.0  # exp of it vanishes in float32 under one maximum for all
    torch.testing.assert_close(
        sinkhorn_knopp(logits, 0.1).double(), published_loop(logits, 0.1), rtol=1e-4, atol=1e-6
    )


def test_sinkhorn_knopp_rows_are_probabilities_with_equal_use_of_prototypes() -> None:
    logits = torch.randn(64, 16, generator=torch.Generator().manual_seed(2)) * 0.2
    q = sinkhorn_knopp(logits, 0.07, iterations=100)
    torch.testing.assert_close(q.sum(1), torch.ones(64))
    torch.testing.assert_close(q.sum(0), torch.full((16,), 64 / 16))


def test_sinkhorn_knopp_ignores_a_constant_added_to_a_prototype() -> None:
    logits = torch.randn(12, 7, generator=torch.Generator().manual_seed(3))
    shifted = logits + torch.linspace(-5, 5, 7)
    torch.testing.assert_close(
        sinkhorn_knopp(logits, 0.1), sinkhorn_knopp(shifted, 0.1), rtol=1e-4, atol=1e-6
    )


def test_sinkhorn_knopp_depends_on_a_constant_added_to_a_sample() -> None:
    """A per-sample maximum, as some implementations subtract it, is therefore wrong."""
    logits = torch.randn(12, 7, generator=torch.Generator().manual_seed(4))
    shifted = logits.clone()
    shifted[0] += 1.0
    assert (sinkhorn_knopp(logits, 0.1) - sinkhorn_knopp(shifted, 0.1)).abs().max() > 1e-3


def test_sinkhorn_knopp_centres_half_precision_in_float32() -> None:
    logits = torch.randn(9, 11, generator=torch.Generator().manual_seed(5)).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        q = sinkhorn_knopp(logits, 0.05)
    assert q.dtype == torch.float32
    torch.testing.assert_close(q.double(), published_loop(logits.float(), 0.05), rtol=2e-4, atol=1e-6)


def test_sinkhorn_knopp_is_independent_of_pieces_and_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(9, 11, generator=torch.Generator().manual_seed(5))
    expected = sinkhorn_knopp(logits, 0.05)
    monkeypatch.setattr(sinkhorn, "PIECE", 30)  # two samples
    targets = sinkhorn.sinkhorn_knopp(logits, 0.05)
    assert targets.kernel.data_ptr() == logits.data_ptr()
    rows = torch.cat([targets.rows(slice(start, start + 4)) for start in (0, 4, 8)])
    assert torch.equal(rows, expected)


def _share(rank: int, world: int, parts: list[Tensor]) -> Tensor:
    return sinkhorn_knopp(parts[rank], 0.05)


@pytest.mark.parametrize("sizes", [(7, 2), (9, 0)])
def test_sinkhorn_knopp_on_two_processes_with_unequal_shares_equals_one(sizes: tuple[int, int]) -> None:
    logits = torch.randn(sum(sizes), 10, generator=torch.Generator().manual_seed(6))
    parts = list(logits.split(sizes))
    together = torch.cat(run_processes(_share, 2, parts))
    torch.testing.assert_close(together, sinkhorn_knopp(logits, 0.05), rtol=1e-5, atol=1e-7)
