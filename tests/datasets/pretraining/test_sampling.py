import numpy as np
import pytest

from braindino.datasets.pretraining.sampling import ScanOrder, draw_slices, hash_uniform


def test_scan_order_permutes_each_pass() -> None:
    order = ScanOrder(3, np.ones(1001))
    passes = order.draw(np.arange(3003)).reshape(3, 1001)
    for one in passes:
        assert np.array_equal(np.sort(one), np.arange(1001))
    assert (passes[0] == passes[1]).sum() < 10
    assert not np.array_equal(ScanOrder(4, np.ones(1001)).draw(np.arange(1001)), passes[0])


def test_scan_order_depends_on_the_number_alone() -> None:
    numbers = np.random.default_rng(0).integers(0, 10**9, 500)
    together = ScanOrder(0, np.ones(77)).draw(numbers)
    order = ScanOrder(0, np.ones(77))
    assert [int(order.draw(numbers[i : i + 1])[0]) for i in range(500)] == together.tolist()
    shuffled = np.random.default_rng(1).permutation(500)
    assert np.array_equal(ScanOrder(0, np.ones(77)).draw(numbers[shuffled]), together[shuffled])
    first, last = np.zeros(500, int), np.full(500, 127)
    slices = draw_slices(0, numbers, first, last)
    assert np.array_equal(draw_slices(0, numbers[shuffled], first, last), slices[shuffled])
    assert not np.array_equal(draw_slices(1, numbers, first, last), slices)


def test_scan_order_follows_weights_to_within_one_per_pass() -> None:
    weight = np.array([1.0] * 60 + [2.5] * 20 + [0.25] * 20)
    expected = weight * 100 / weight.sum()
    order = ScanOrder(0, weight)
    counts = np.stack([np.bincount(order.draw(np.arange(100) + 100 * k), minlength=100) for k in range(400)])
    assert (np.abs(counts - expected) < 1).all()
    assert counts.mean(0) == pytest.approx(expected, abs=0.1)


def test_draw_slices_follows_the_truncated_normal() -> None:
    from scipy.stats import kstest, truncnorm

    n = 20_000
    drawn = draw_slices(0, np.arange(n), np.full(n, 20), np.full(n, 20 + 5999))
    law = truncnorm(-3, 3, loc=20 + 3000, scale=1000)
    assert kstest(drawn, law.cdf).pvalue > 0.01
    assert drawn.min() >= 20
    assert drawn.max() <= 6019
    wide = draw_slices(0, np.arange(n), np.full(n, 20), np.full(n, 20 + 5999), sigma=0.5)
    assert kstest(wide, truncnorm(-1, 1, loc=20 + 3000, scale=3000).cdf).pvalue > 0.01
    few = draw_slices(0, np.arange(n), np.full(n, 4), np.full(n, 6))
    assert set(few) == {4, 5, 6}
    one = draw_slices(0, np.arange(9), np.full(9, 5), np.full(9, 5))
    assert set(one) == {5}


def test_hash_uniform_is_uniform_and_uncorrelated() -> None:
    from scipy.stats import kstest

    draws = hash_uniform(0, np.arange(20_000))
    assert kstest(draws, "uniform").pvalue > 0.01
    assert abs(np.corrcoef(draws[:-1], draws[1:])[0, 1]) < 0.03
    assert abs(np.corrcoef(draws, hash_uniform(1, np.arange(20_000)))[0, 1]) < 0.03
    assert draws.min() > 0
    assert draws.max() < 1
