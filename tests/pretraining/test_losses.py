"""The losses against slow closed forms in float64, and what must not change them."""

import math

import pytest
import torch
from torch import Tensor

from braindino.pretraining.cross_entropy import soft_cross_entropy
from braindino.pretraining.losses import dino_loss, gram_loss, ibot_loss, koleo_loss
from tests.pretraining.processes import run_processes

TEMPERATURE = 0.1


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cross_entropy(logits: Tensor, target: Tensor) -> float:
    """One sample, written out in float64."""
    scaled = [x / TEMPERATURE for x in logits.double().tolist()]
    top = max(scaled)
    log_total = top + math.log(sum(math.exp(x - top) for x in scaled))
    return -sum(t * (x - log_total) for t, x in zip(target.double().tolist(), scaled, strict=True))


def slow_dino(student_global: Tensor, student_local: Tensor, targets: Tensor, local_weight: float) -> float:
    crops, slices, _ = targets.shape
    pairs_global, pairs_local = [], []
    for t in range(crops):
        for b in range(slices):
            pairs_global += [
                cross_entropy(student_global[s, b], targets[t, b]) for s in range(crops) if s != t
            ]
            pairs_local += [cross_entropy(s[b], targets[t, b]) for s in student_local]
    count = len(pairs_global) + len(pairs_local)
    return (sum(pairs_global) + local_weight * sum(pairs_local)) / count


@pytest.mark.parametrize(("crops", "local_crops"), [(1, 1), (1, 8), (2, 0), (2, 1), (2, 8), (3, 0), (3, 2)])
def test_dino_equals_the_double_loop(crops: int, local_crops: int) -> None:
    student_global, student_local = random(crops, 3, 9), random(local_crops, 3, 9, seed=1)
    targets = random(crops, 3, 9, seed=2).softmax(-1)
    expected = slow_dino(student_global, student_local, targets, 0.5)
    loss = dino_loss(student_global, student_local, targets, TEMPERATURE, local_weight=0.5)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_the_published_weights_of_two_global_and_eight_local_crops() -> None:
    """2/18 for the global and 16/18 for the local part."""
    student_global, student_local = random(2, 4, 9), random(8, 4, 9, seed=1)
    targets = random(2, 4, 9, seed=2).softmax(-1)
    whole, without = (
        dino_loss(student_global, student_local, targets, TEMPERATURE, local_weight=w).item()
        for w in (1.0, 0.0)
    )
    alone = dino_loss(student_global, student_local[:0], targets, TEMPERATURE).item()
    local = soft_cross_entropy(student_local, targets.mean(0), TEMPERATURE).mean().item()
    assert without == pytest.approx(2 / 18 * alone, rel=1e-5)
    assert whole == pytest.approx(2 / 18 * alone + 16 / 18 * local, rel=1e-5)


def test_dino_ignores_a_constant_per_sample_and_the_order_of_the_slices() -> None:
    student_global, student_local = random(2, 5, 9), random(3, 5, 9, seed=1)
    targets = random(2, 5, 9, seed=2).softmax(-1)
    loss = dino_loss(student_global, student_local, targets, TEMPERATURE)
    shifted = dino_loss(student_global + 3.0, student_local - 2.0, targets, TEMPERATURE)
    order = torch.tensor([3, 1, 4, 0, 2])
    permuted = dino_loss(student_global[:, order], student_local[:, order], targets[:, order], TEMPERATURE)
    torch.testing.assert_close(shifted, loss)
    torch.testing.assert_close(permuted, loss)


def test_uniform_targets_and_predictions_give_ln_k() -> None:
    flat = torch.zeros(2, 3, 64)
    assert dino_loss(flat, flat, flat + 1 / 64, TEMPERATURE).item() == pytest.approx(math.log(64))


def test_ibot_equals_the_loop_over_masked_patches() -> None:
    counts = [3, 0, 1, 4]  # masked patches of four crops
    logits, targets = random(8, 7), random(8, 7, seed=1).softmax(-1)
    weights = torch.tensor([1 / c for c in counts for _ in range(c)])
    expected, i = 0.0, 0
    for count in counts:
        expected += sum(cross_entropy(logits[i + j], targets[i + j]) for j in range(count)) / max(1, count)
        i += count
    assert ibot_loss(logits, targets, weights, 4, TEMPERATURE).item() == pytest.approx(expected / 4, rel=1e-5)


def test_ibot_without_a_masked_patch_is_zero_with_a_gradient() -> None:
    logits = torch.zeros(0, 7, requires_grad=True)
    loss = ibot_loss(logits, torch.zeros(0, 7), torch.zeros(0), 4, TEMPERATURE)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None


def slow_koleo(features: Tensor) -> float:
    points = features.double() / features.double().norm(dim=1, keepdim=True)
    nearest = [
        min((points[i] - points[j]).norm().item() for j in range(len(points)) if j != i)
        for i in range(len(points))
    ]
    return -sum(math.log(d + 1e-8) for d in nearest) / len(nearest)


def test_koleo_equals_the_loop_and_ignores_length_and_rotation() -> None:
    features = random(12, 6)
    expected = slow_koleo(features)
    rotation = torch.linalg.qr(random(6, 6, seed=1)).Q
    assert koleo_loss(features).item() == pytest.approx(expected, rel=1e-4)
    assert koleo_loss(features * torch.arange(1, 13)[:, None]).item() == pytest.approx(expected, rel=1e-4)
    assert koleo_loss(features @ rotation).item() == pytest.approx(expected, rel=1e-4)


def test_koleo_is_computed_in_float32_under_autocast() -> None:
    features = random(16, 32)
    with torch.autocast("cpu", torch.bfloat16):
        assert koleo_loss(features).item() == pytest.approx(slow_koleo(features), rel=1e-5)


def test_koleo_of_duplicates_and_of_one_sample_is_finite_with_a_finite_gradient() -> None:
    for features in (random(1, 6).expand(4, 6).clone(), random(1, 6)):
        features.requires_grad_()
        loss = koleo_loss(features)
        loss.backward()
        assert loss.isfinite()
        assert features.grad is not None
        assert features.grad.isfinite().all()


def _koleo_share(rank: int, world: int, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
    part = parts[rank].clone().requires_grad_()
    loss = koleo_loss(part, over_processes=True)
    loss.backward()
    assert part.grad is not None
    return loss.detach(), part.grad


def test_koleo_over_two_processes_equals_one_in_value_and_gradient() -> None:
    features = random(10, 6)
    answers = run_processes(_koleo_share, 2, list(features.split(5)))
    whole = features.clone().requires_grad_()
    loss = koleo_loss(whole)
    loss.backward()
    assert whole.grad is not None
    torch.testing.assert_close(torch.stack([a[0] for a in answers]).mean(), loss.detach())
    torch.testing.assert_close(torch.cat([a[1] for a in answers]) / 2, whole.grad)  # DDP takes the mean


def test_gram_equals_the_loop_over_pairs_of_patches() -> None:
    student, reference = random(2, 5, 6), random(2, 5, 8, seed=1)
    total = 0.0
    for x, y in zip(student.double(), reference.double(), strict=True):
        for i in range(5):
            for j in range(5):
                own = torch.cosine_similarity(x[i], x[j], dim=0)
                total += (own - torch.cosine_similarity(y[i], y[j], dim=0)).item() ** 2
    assert gram_loss(student, reference).item() == pytest.approx(total / 50, rel=1e-4)


def test_gram_is_zero_for_equal_features_and_under_rotation() -> None:
    student = random(2, 5, 6)
    rotation = torch.linalg.qr(random(6, 6, seed=1)).Q
    assert gram_loss(student, student * 3).item() == pytest.approx(0, abs=1e-12)
    assert gram_loss(student, student @ rotation).item() == pytest.approx(0, abs=1e-10)
