"""Test BCa intervals against scipy, their width for few people, and the p values that belong to them."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri, stdtr

from braindino.analysis.metrics.intervals import bca_interval, level_at_zero


def sample(people=30, seed=0, shift=0.0):
    """Values of skewed people, their mean, its resamples, and the means without each of them."""
    rng = np.random.default_rng(seed)
    values = rng.exponential(size=people) - 1 + shift
    drawn = rng.integers(people, size=(2000, people))
    left_out = (values.sum() - values) / (people - 1)
    return values, float(values.mean()), values[drawn].mean(axis=1), left_out


def plain(people):
    """The confidence at which the expanded levels are those of a normal 95 % interval."""
    return 1 - 2 * float(stdtr(people - 1, ndtri(0.025) * np.sqrt((people - 1) / people)))


@pytest.mark.parametrize("people", [12, 30, 200])
def test_bca_interval_agrees_with_scipy_on_the_same_draws(people):
    values, value, draws, left_out = sample(people)
    before = stats.bootstrap((values,), np.mean, n_resamples=10, method="BCa")  # its draws are replaced
    before.bootstrap_distribution = draws
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=0, method="BCa", bootstrap_result=before
    ).confidence_interval
    ours = bca_interval(value, draws, left_out, people, plain(people))
    np.testing.assert_allclose(ours, theirs, atol=2e-3)  # scipy interpolates between draws differently
    wider = bca_interval(value, draws, left_out, people)
    assert wider[0] <= ours[0]
    assert ours[1] <= wider[1]
    assert (wider[1] - wider[0]) / (ours[1] - ours[0]) > (1.05 if people == 12 else 1.0)


@pytest.mark.parametrize("shift", [-0.5, -0.3, 0.0, 0.2, 2.0])
def test_level_at_zero_is_the_level_at_which_the_interval_touches_zero(shift):
    _, value, draws, left_out = sample(shift=shift)
    p = level_at_zero(value, draws, left_out, 30)
    if p < 0.002:
        assert p == pytest.approx(2 / 2001)
        low, high = bca_interval(value, draws, left_out, 30, 0.99)
        assert low > 0 or high < 0
        return
    low, high = bca_interval(value, draws, left_out, 30, 1 - p)
    assert min(abs(low), abs(high)) < 0.01
    for level, holds in ((p * 0.8, True), (min(1.0, p * 1.2), False)):
        low, high = bca_interval(value, draws, left_out, 30, 1 - level)
        assert (low <= 0 <= high) is holds


def test_bca_interval_of_equal_draws_is_a_point():
    one = np.ones(100)
    assert bca_interval(1.0, one, np.ones(10), 10) == (1.0, 1.0)
    assert level_at_zero(1.0, one, np.ones(10), 10) == pytest.approx(2 / 101)
    assert level_at_zero(0.0, 0 * one, np.zeros(10), 10) == 1.0


def test_bca_interval_is_nan_where_undefined():
    assert np.isnan(bca_interval(float("nan"), np.ones(5), np.ones(5), 5)).all()
    assert np.isnan(bca_interval(1.0, np.ones(5), np.ones(1), 1)).all()
