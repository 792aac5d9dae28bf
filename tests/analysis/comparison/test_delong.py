"""Test DeLong's test against its authors' example, a slow version from the definition, and resampling."""

import time

import numpy as np
import pytest
from scipy.stats import norm

from braindino.analysis.comparison.delong import auroc_components, delong, placements
from braindino.analysis.metrics.classification import classification_metrics

# DeLong, DeLong and Clarke-Pearson 1988: albumin, total protein, K-G score and outcome of 43 patients with
# complete data, as reprinted in the manual of SAS/STAT ("Comparing Receiver Operating Characteristic Curves")
OVARIAN = """
3.0 5.8 10 0  3.2 6.3  5 1  3.9 6.8  3 1  2.8 4.8  6 0  3.2 5.8  3 1  0.9 4.0  5 0  2.5 5.7  8 0  1.6 5.6  5 1
3.8 5.7  5 1  3.7 6.7  6 1  3.2 5.4  4 1  3.8 6.6  6 1  4.1 6.6  5 1  3.6 5.7  5 1  4.3 7.0  4 1  3.6 6.7  4 0
2.3 4.4  6 1  4.2 7.6  4 0  4.0 6.6  6 0  3.5 5.8  6 1  3.8 6.8  7 1  3.0 4.7  8 0  4.5 7.4  5 1  3.7 7.4  5 1
3.1 6.6  6 1  4.1 8.2  6 1  4.3 7.0  5 1  4.3 6.5  4 1  3.2 5.1  5 1  2.6 4.7  6 1  3.3 6.8  6 0  1.7 4.0  7 0
3.7 6.1  5 1  3.3 6.3  7 1  4.2 7.7  6 1  3.5 6.2  5 1  2.9 5.7  9 0  2.1 4.8  7 1  2.8 6.2  8 0  4.0 7.0  7 1
3.3 5.7  6 1  3.7 6.9  5 1  3.6 6.6  5 1
"""


def two_columns(score):
    """Scores of class 0 and class 1."""
    return np.column_stack([-score, score])


def by_definition(target, first, second):
    """DeLong 1988, eqs. 1 to 6, with every pair of cases: difference and standard error."""
    case = target == 1
    v10, v01 = [], []
    for score in (first, second):
        difference = score[case][:, None] - score[~case][None, :]
        won = (difference > 0) + 0.5 * (difference == 0)
        v10.append(won.mean(axis=1))
        v01.append(won.mean(axis=0))
    covariance = np.cov(v10) / case.sum() + np.cov(v01) / (~case).sum()
    contrast = np.array([1, -1])
    return np.mean(v10, axis=1) @ contrast, np.sqrt(contrast @ covariance @ contrast)


def planted(cases, seed=0, classes=2, copies=1, round_to=None):
    """Target, two models' scores, people: `copies` cases each with a common error."""
    rng = np.random.default_rng(seed)
    target = np.repeat(np.arange(cases) % classes, copies)
    scores = []
    for signal in (1.0, 0.7):
        common = np.repeat(rng.normal(size=(cases, classes)), copies, axis=0)
        noise = rng.normal(size=(cases * copies, classes)) * (0.2 if copies > 1 else 0.0)
        scores.append(common + noise + signal * np.eye(classes)[target])
    if round_to is not None:
        scores = [np.round(score, round_to) for score in scores]
    return target, *scores, np.repeat(np.arange(cases), copies)


def test_delong_gives_the_result_of_the_authors_example():
    table = np.array(OVARIAN.split(), dtype=float).reshape(43, 4)
    outcome = table[:, 3].astype(int)
    albumin, protein, kg = (two_columns(score) for score in (table[:, 0], table[:, 1], 10 - table[:, 2]))
    result = delong(outcome, albumin, kg)
    # As printed by SAS/STAT: area of each, difference to the K-G score, standard error, chi-square, p.
    assert result.first == pytest.approx(0.7366, abs=5e-5)
    assert result.second == pytest.approx(0.7258, abs=5e-5)
    assert (result.difference, result.error) == pytest.approx((0.0108, 0.0953), abs=5e-5)
    assert (result.z**2, result.p) == pytest.approx((0.0127, 0.9102), abs=5e-5)
    result = delong(outcome, protein, kg)
    assert result.first == pytest.approx(0.6478, abs=5e-5)
    assert (result.difference, result.error) == pytest.approx((-0.0780, 0.1046), abs=5e-5)
    assert (result.z**2, result.p) == pytest.approx((0.5554, 0.4561), abs=5e-5)


@pytest.mark.parametrize("round_to", [None, 0])
def test_delong_equals_the_slow_version(round_to):
    for seed in range(5):
        target, first, second, _ = planted(61, seed, round_to=round_to)
        fast = delong(target, first, second)
        slow = by_definition(target, first[:, 1], second[:, 1])
        assert (fast.difference, fast.error) == pytest.approx(slow, rel=1e-12)
        assert fast.p == pytest.approx(2 * norm.sf(abs(slow[0] / slow[1])))


def test_placements_count_pairs():
    positive = np.array([True, True, False, False, False])
    score = np.array([0.9, 0.4, 0.4, 0.1, 0.95])
    assert placements(positive, score).tolist() == pytest.approx([2 / 3, 0.5, 0.75, 1, 0])


@pytest.mark.parametrize("classes", [2, 3])
def test_delong_value_is_the_auroc_metric(classes):
    target, first, second, people = planted(90, classes=classes, round_to=1)
    raw = np.exp(first)
    probability = raw / raw.sum(axis=1, keepdims=True)
    result = delong(target, probability, second, people)
    names = [str(c) for c in range(classes)]
    assert result.first == pytest.approx(classification_metrics(target, probability, names)["auroc"][0])


@pytest.mark.parametrize(("classes", "copies"), [(2, 4), (3, 1), (3, 3)])
def test_delong_error_is_that_of_resampling_people(classes, copies):
    target, first, second, people = planted(300, 3, classes, copies)
    names = [str(c) for c in range(classes)]
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(300, np.full(300, 1 / 300), size=600)[:, people].astype(float)
    sides = []
    for score in (first, second):
        raw = np.exp(score)
        probability = raw / raw.sum(axis=1, keepdims=True)
        sides.append(
            (probability, classification_metrics(target, probability, names, weights=drawn)["auroc"])
        )
    spread = np.std(sides[0][1] - sides[1][1])
    result = delong(target, sides[0][0], sides[1][0], people)
    assert result.error == pytest.approx(spread, rel=0.12)
    if copies > 1:  # taking the visits of a person for independent is too sure
        assert delong(target, sides[0][0], sides[1][0]).error < 0.75 * spread


def test_delong_of_equal_models_is_zero_and_null_p_values_are_uniform():
    target, first, _, people = planted(50)
    assert delong(target, first, first, people)[2:] == (0, 0, 0, 1)
    ps = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        truth = np.arange(80) % 2
        ps.append(delong(truth, rng.normal(size=(80, 2)), rng.normal(size=(80, 2))).p)
    assert np.mean(np.array(ps) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(ps) == pytest.approx(0.5, abs=0.06)


def test_delong_uses_the_mean_over_seeds():
    target, first, second, people = planted(60)
    alone = delong(target, first, second, people)
    twice = delong(target, np.stack([first, first]), np.stack([second, second]), people)
    assert twice == pytest.approx(alone)
    mixed = delong(target, np.stack([first, second]), second, people)
    assert mixed.difference == pytest.approx(alone.difference / 2)


def test_delong_is_undefined_for_one_person_and_rejects_one_class():
    target, first, second, people = planted(20)
    lonely = np.where(np.arange(20) == 0, 1, 0)
    assert np.isnan(delong(lonely, first, second, people).p)
    with pytest.raises(ValueError, match="two classes"):
        delong(np.zeros(20, dtype=int), first, second)
    with pytest.raises(ValueError, match="a row for each of 20 cases"):
        auroc_components(target, first[:-1], people)


def test_delong_of_twenty_thousand_cases_takes_under_a_second():
    target, first, second, people = planted(20_000)
    started = time.process_time()
    delong(target, first, second, people)
    assert time.process_time() - started < 1
