"""Test the paired tests against closed forms, and that people, not cases, are drawn or swapped."""

from itertools import product

import numpy as np
import pytest
from scipy import stats

from braindino.analysis.comparison.paired_tests import holm, mcnemar, permutation, wilcoxon


def test_mcnemar_is_the_binomial_test_of_discordant_cases():
    first = np.array([1] * 12 + [1] * 9 + [0] * 2 + [0] * 7, dtype=bool)
    second = np.array([1] * 12 + [0] * 9 + [1] * 2 + [0] * 7, dtype=bool)
    gained, lost, p = mcnemar(first, second)
    assert (gained, lost) == (9, 2)
    assert p == pytest.approx(stats.binomtest(2, 11).pvalue)
    assert mcnemar(first, first) == (0, 0, 1.0)


def test_wilcoxon_ranks_the_mean_of_each_person():
    rng = np.random.default_rng(0)
    difference, people = rng.normal(0.4, 1, size=40), np.arange(40)
    expected = stats.wilcoxon(difference)
    assert wilcoxon(difference, people) == pytest.approx((expected.statistic, expected.pvalue))
    copied = wilcoxon(np.tile(difference, 5), np.tile(people, 5))
    assert copied == pytest.approx((expected.statistic, expected.pvalue))
    assert wilcoxon(np.zeros(5), np.arange(5)) == (0, 1)


def test_permutation_of_few_people_uses_all_swaps():
    difference, people = np.array([0.5, 0.2, 0.3, -0.1, 0.4]), np.array([0, 0, 1, 2, 3])
    sums = np.array([0.7, 0.3, -0.1, 0.4])
    swapped = [abs(np.dot(signs, sums)) for signs in product((-1, 1), repeat=4)]
    mean, p = permutation(difference, people)
    assert mean == pytest.approx(difference.mean())
    assert p == pytest.approx(np.mean(np.array(swapped) >= sums.sum() - 1e-12))


def test_permutation_of_one_person_shows_nothing():
    assert permutation(np.array([0.25]), np.array([7])) == (0.25, 1)
    assert permutation(np.array([0.5, 0.25]), np.array([7, 7])) == (0.375, 1)


def test_permutation_swaps_cases_of_a_person_together_and_repeats():
    rng = np.random.default_rng(1)
    difference, people = rng.normal(0.3, 1, size=60), np.arange(60)
    alone = permutation(difference, people)
    assert alone == permutation(difference, people)
    assert alone[1] == pytest.approx(stats.ttest_1samp(difference, 0).pvalue, abs=0.02)
    copied = permutation(np.tile(difference, 4), np.tile(people, 4))
    assert copied[1] == pytest.approx(alone[1], abs=0.005)
    assert permutation(np.tile(difference, 4), np.arange(240))[1] < 0.3 * alone[1]
    assert permutation(np.zeros(6), np.arange(6)) == (0, 1)


def test_holm_steps_down_and_ignores_undefined_p_values():
    # By hand: 0.01 x 3, then max(0.03, 0.02 x 2), then max(0.04, 0.04 x 1).
    assert holm([0.04, np.nan, 0.01, 0.02]).tolist() == pytest.approx([0.04, np.nan, 0.03, 0.04], nan_ok=True)
    assert np.isnan(holm([np.nan])).all()


def test_paired_tests_reject_a_missing_person():
    with pytest.raises(ValueError, match="a person per case"):
        wilcoxon([0.1, 0.2], [1])
