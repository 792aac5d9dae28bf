"""The linear head of the online probes: it solves its objective, and one weight decay serves all widths."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch.nn import functional as F

from braindino.pretraining.callbacks.linear_head import fit_linear_head


def draw(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=generator, dtype=torch.float64) * 3 + 5


def standardised(features: torch.Tensor) -> np.ndarray:
    rows = (features - features.mean(0)) / features.std(0, correction=0) / features.shape[1] ** 0.5
    return rows.numpy()


def test_fit_linear_head_equals_scikit_learns_logistic_regression() -> None:
    features = draw(90, 6)
    classes = (features[:, 0] + features[:, 1] > 10).long() + (features[:, 2] > 7).long()
    head = fit_linear_head(features, classes, 3, F.cross_entropy, 1e-3)
    reference = LogisticRegression(C=1 / (90 * 1e-3), tol=1e-10, max_iter=5000)
    reference.fit(standardised(features), classes.numpy())
    expected = reference.predict_proba(standardised(features))
    np.testing.assert_allclose(head(features).softmax(1).numpy(), expected, atol=1e-5)


def test_fit_linear_head_equals_scikit_learns_ridge() -> None:
    features = draw(40, 60)
    targets = features @ draw(60, 1, seed=1)
    targets = (targets - targets.mean()) / targets.std()
    head = fit_linear_head(features, targets, 1, F.mse_loss, 1e-2)
    reference = Ridge(alpha=40 * 1e-2 / 2).fit(standardised(features), targets.numpy())
    expected = np.asarray(reference.predict(standardised(features))).reshape(-1, 1)
    np.testing.assert_allclose(head(features).numpy(), expected, atol=1e-5)


def test_fit_linear_head_ignores_units_and_constant_features() -> None:
    features = draw(50, 4)
    targets = (features[:, :1] > 5).double()
    head = fit_linear_head(features, targets, 1, F.binary_cross_entropy_with_logits, 1e-3)
    constant = torch.full((50, 1), 7.0, dtype=torch.float64)
    scaled = torch.cat([features * 1000 - 3, constant], dim=1)
    other = fit_linear_head(scaled, targets, 1, F.binary_cross_entropy_with_logits, 1e-3 * 4 / 5)
    torch.testing.assert_close(other(scaled), head(features), rtol=1e-4, atol=1e-4)


def test_fit_linear_head_draws_no_random_number_and_leaves_no_gradient() -> None:
    features = draw(20, 3).requires_grad_()
    before = torch.get_rng_state()
    with torch.no_grad():
        head = fit_linear_head(features.detach(), torch.arange(20) % 2, 2, F.cross_entropy, 1e-3)
    assert torch.equal(torch.get_rng_state(), before)
    assert features.grad is None
    assert not head.weight.requires_grad
    assert head(features.detach()).shape == (20, 2)


@pytest.mark.parametrize("rows", [1, 2])
def test_fit_linear_head_of_few_rows_is_finite(rows: int) -> None:
    head = fit_linear_head(draw(rows, 5), torch.zeros(rows, dtype=torch.long), 2, F.cross_entropy, 1e-3)
    assert head(draw(3, 5)).isfinite().all()
