"""Effective rank, spread and entropy: values that are known for isotropic and for collapsed features."""

import math

import pytest
import torch

from braindino.pretraining.losses.feature_statistics import feature_statistics, rankme


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rankme_of_features_with_equal_singular_values_is_their_number(rank: int) -> None:
    left = torch.linalg.qr(torch.randn(40, rank)).Q
    right = torch.linalg.qr(torch.randn(12, rank)).Q
    assert rankme(left @ right.T).item() == pytest.approx(rank, rel=1e-3)


def test_rankme_of_features_that_are_not_finite_is_nan() -> None:
    assert rankme(torch.full((4, 3), torch.nan)).isnan()


def test_feature_statistics_of_isotropic_and_of_collapsed_features() -> None:
    features, targets = torch.randn(4000, 16), torch.full((4000, 10), 0.1)
    good = feature_statistics(features, targets)
    assert good["feature_std"].item() == pytest.approx(1, abs=0.02)
    assert good["rankme"].item() == pytest.approx(16, abs=0.1)
    assert good["teacher_entropy"].item() == pytest.approx(math.log(10), rel=1e-4)
    one_hot = torch.eye(10).repeat(400, 1)
    collapsed = feature_statistics(features[:1].expand(4000, -1), one_hot)
    assert collapsed["feature_std"].item() == pytest.approx(0, abs=1e-5)
    assert collapsed["teacher_entropy"].item() == 0
