"""The losses against slow closed forms in float64, and their invariances."""

import math

import pytest
import torch
from torch import Tensor

from braindino.pretraining.losses.losses import dino_loss, gram_loss, ibot_loss, koleo_loss
from braindino.pretraining.losses.sinkhorn import Targets
from tests.helpers.processes import run_processes

TEMPERATURE = 0.1


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cross_entropy(logits: Tensor, target: Tensor) -> float:
    """Return the cross entropy of one sample in float64."""
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


def targets_of(probabilities: Tensor) -> Targets:
    """Return probabilities (n, K) as the product of factors."""
    per_prototype, per_sample = (
        torch.linspace(0.5, 2, probabilities.shape[1]),
        random(len(probabilities)).exp(),
    )
    return Targets(probabilities / per_prototype / per_sample[:, None], per_prototype, per_sample)


def dino(student: Tensor, targets: Tensor, local_weight: float = 1.0) -> Tensor:
    """Return the DINO loss of logits (C, B, K) and targets (2, B, K), with unit prototypes."""
    prototypes = torch.eye(student.shape[-1])
    return dino_loss(student, prototypes, targets_of(targets.flatten(0, 1)), TEMPERATURE, local_weight)


@pytest.mark.parametrize("local_crops", [0, 1, 8])
def test_dino_loss_equals_the_double_loop(local_crops: int) -> None:
    points, prototypes = random(2 + local_crops, 3, 5), random(9, 5, seed=1)
    targets = random(2, 3, 9, seed=2).softmax(-1)
    student = points @ prototypes.T
    expected = slow_dino(student[:2], student[2:], targets, 0.5)
    loss = dino_loss(points, prototypes, targets_of(targets.flatten(0, 1)), TEMPERATURE, local_weight=0.5)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_dino_loss_has_the_published_weights_of_two_global_and_eight_local_crops() -> None:
    """2/18 for the global and 16/18 for the local part."""
    student, targets = random(10, 4, 9), random(2, 4, 9, seed=2).softmax(-1)
    whole, without = (dino(student, targets, w).item() for w in (1.0, 0.0))
    alone = dino(student[:2], targets).item()
    pairs = [(s, t) for s in student[2:] for t in targets]
    local = sum(cross_entropy(x, y) for s, t in pairs for x, y in zip(s, t, strict=True)) / (4 * len(pairs))
    assert without == pytest.approx(2 / 18 * alone, rel=1e-5)
    assert whole == pytest.approx(2 / 18 * alone + 16 / 18 * local, rel=1e-5)


def test_dino_loss_ignores_a_constant_per_sample_and_the_order_of_slices() -> None:
    student, targets = random(5, 5, 9), random(2, 5, 9, seed=2).softmax(-1)
    order = torch.tensor([3, 1, 4, 0, 2])
    loss = dino(student, targets)
    torch.testing.assert_close(dino(student + random(5, 5, 1, seed=3), targets), loss)
    torch.testing.assert_close(dino(student[:, order], targets[:, order]), loss)


def test_dino_loss_of_uniform_targets_and_predictions_is_ln_k() -> None:
    flat = torch.zeros(4, 3, 64)
    assert dino(flat, flat[:2] + 1 / 64).item() == pytest.approx(math.log(64))


def test_ibot_loss_equals_the_loop_over_masked_patches() -> None:
    counts = [3, 0, 1, 4]  # masked patches of four crops
    points, prototypes, targets = random(8, 4), random(7, 4, seed=2), random(8, 7, seed=1).softmax(-1)
    weights = torch.tensor([1 / c for c in counts for _ in range(c)])
    logits, expected, i = points @ prototypes.T, 0.0, 0
    for count in counts:
        expected += sum(cross_entropy(logits[i + j], targets[i + j]) for j in range(count)) / max(1, count)
        i += count
    loss = ibot_loss(points, prototypes, targets_of(targets), weights, 4, TEMPERATURE)
    assert loss.item() == pytest.approx(expected / 4, rel=1e-5)


def test_ibot_loss_without_a_masked_patch_is_zero_with_a_gradient() -> None:
    points, prototypes = torch.zeros(0, 4, requires_grad=True), random(7, 4).requires_grad_()
    loss = ibot_loss(points, prototypes, targets_of(torch.zeros(0, 7)), torch.zeros(0), 4, TEMPERATURE)
    loss.backward()
    assert loss.item() == 0
    assert points.grad is not None
    assert prototypes.grad is not None
    assert prototypes.grad.abs().max() == 0


def slow_koleo(features: Tensor) -> float:
    points = features.double() / features.double().norm(dim=1, keepdim=True)
    nearest = [
        min((points[i] - points[j]).norm().item() for j in range(len(points)) if j != i)
        for i in range(len(points))
    ]
    return -sum(math.log(d + 1e-8) for d in nearest) / len(nearest)


def test_koleo_loss_equals_the_loop_and_ignores_length_and_rotation() -> None:
    features = random(12, 6)
    expected = slow_koleo(features)
    rotation = torch.linalg.qr(random(6, 6, seed=1)).Q
    assert koleo_loss(features).item() == pytest.approx(expected, rel=1e-4)
    assert koleo_loss(features * torch.arange(1, 13)[:, None]).item() == pytest.approx(expected, rel=1e-4)
    assert koleo_loss(features @ rotation).item() == pytest.approx(expected, rel=1e-4)


def test_koleo_loss_is_computed_in_float32_under_autocast() -> None:
    features = random(16, 32)
    with torch.autocast("cpu", torch.bfloat16):
        assert koleo_loss(features).item() == pytest.approx(slow_koleo(features), rel=1e-5)


def test_koleo_loss_of_duplicates_and_of_one_sample_is_finite() -> None:
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


def test_koleo_loss_over_two_processes_equals_one_in_value_and_gradient() -> None:
    features = random(10, 6)
    answers = run_processes(_koleo_share, 2, list(features.split(5)))
    whole = features.clone().requires_grad_()
    loss = koleo_loss(whole)
    loss.backward()
    assert whole.grad is not None
    torch.testing.assert_close(torch.stack([a[0] for a in answers]).mean(), loss.detach())
    torch.testing.assert_close(torch.cat([a[1] for a in answers]) / 2, whole.grad)  # DDP takes the mean


def test_gram_loss_equals_the_loop_over_pairs_of_patches() -> None:
    student, reference = random(2, 5, 6), random(2, 5, 8, seed=1)
    total = 0.0
    for x, y in zip(student.double(), reference.double(), strict=True):
        for i in range(5):
            for j in range(5):
                similarity = torch.cosine_similarity(x[i], x[j], dim=0)
                total += (similarity - torch.cosine_similarity(y[i], y[j], dim=0)).item() ** 2
    assert gram_loss(student, reference).item() == pytest.approx(total / 50, rel=1e-4)


def test_gram_loss_is_zero_for_equal_features_and_under_rotation() -> None:
    student = random(2, 5, 6)
    rotation = torch.linalg.qr(random(6, 6, seed=1)).Q
    assert gram_loss(student, student * 3).item() == pytest.approx(0, abs=1e-12)
    assert gram_loss(student, student @ rotation).item() == pytest.approx(0, abs=1e-10)
