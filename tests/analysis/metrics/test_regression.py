"""Test regression metrics against scikit-learn and scipy."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sk

from braindino.analysis.metrics.regression import regression_metrics


def test_regression_metrics_agree_with_scikit_learn_and_scipy():
    rng = np.random.default_rng(0)
    target = rng.normal(60, 10, size=50)
    predicted = target + rng.normal(0, 5, size=50)
    weights = np.stack([np.ones(50), rng.integers(0, 3, size=50)])
    ours = regression_metrics(target, predicted, weights)
    for row, weight in enumerate(weights):
        repeated = np.repeat(np.arange(50), weight.astype(int))
        truth, chosen = target[repeated], predicted[repeated]
        assert ours["mae"][row] == pytest.approx(sk.mean_absolute_error(truth, chosen))
        assert ours["rmse"][row] == pytest.approx(sk.root_mean_squared_error(truth, chosen))
        assert ours["r2"][row] == pytest.approx(sk.r2_score(truth, chosen))
        assert ours["pearson"][row] == pytest.approx(stats.pearsonr(truth, chosen).statistic)


def test_regression_metrics_of_a_constant_have_no_correlation():
    ours = regression_metrics([70.1, 70.1, 70.1], [1.0, 2.0, 3.0])
    assert np.isnan(ours["r2"].item())
    assert np.isnan(ours["pearson"].item())
    assert np.isfinite(ours["mae"].item())
