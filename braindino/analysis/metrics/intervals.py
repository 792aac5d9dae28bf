"""Compute intervals and p values from resamples of people: BCa at expanded levels."""

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from braindino.analysis.metrics.weighting import Floats


def bca_interval(
    value: float, draws: Floats, left_out: Floats, people: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the BCa interval (Efron 1987) at expanded levels.

    A percentile interval of n people is too narrow, as if a standard deviation were divided by n and a normal
    quantile used: Hesterberg (2015, "What teachers should know about the bootstrap", section 4.4.1) expands
    the percentiles by sqrt(n / (n - 1)) and Student's t instead of the normal. BCa (Efron 1987, "Better
    bootstrap confidence intervals") at these levels covered the truth in 95 % of the samples of 20 to 100
    people, percentiles in 91 to 94 % (benchmarks/interval_coverage.py).

    Args:
        value: the estimate.
        draws: (R,) estimates of R resamples of the people, all finite.
        left_out: (G,) estimates without each of the people, or without each of G groups of them, all finite.
        people: number of people.
        confidence: nominal coverage.
    """
    if people < 2 or not np.isfinite(value):
        return float("nan"), float("nan")
    bias, acceleration = _bias_and_acceleration(value, draws, left_out)
    quantile = float(stdtrit(people - 1, (1 - confidence) / 2)) * np.sqrt(people / (people - 1))
    ends = bias + np.array([quantile, -quantile])
    denominator = 1 - acceleration * ends
    # Beyond the pole the formula changes its sign; its limit there is the outermost draw.
    inside = ndtr(bias + ends / np.where(denominator > 0, denominator, 1.0))
    levels = np.where(denominator > 0, inside, [0.0, 1.0])
    low, high = np.quantile(draws, levels)
    return float(low), float(high)


def level_at_zero(value: float, draws: Floats, left_out: Floats, people: int) -> float:
    """Return a two-sided p value: the level at which an end of `bca_interval` is 0.

    It is at least 2 / (R + 1), the resolution of R draws.

    Args:
        value: the estimate of a difference.
        draws: (R,) as for `bca_interval`.
        left_out: (G,) as for `bca_interval`.
        people: number of people.
    """
    bias, acceleration = _bias_and_acceleration(value, draws, left_out)
    below = float(np.mean(draws < 0) + np.mean(draws <= 0)) / 2
    smallest = 1 / (len(draws) + 1)
    if below in (0.0, 1.0):  # no interval between draws reaches 0
        return 2 * smallest
    end = float(ndtri(np.clip(below, smallest, 1 - smallest))) - bias
    denominator = 1 + acceleration * end
    quantile = (end / denominator if denominator > 0 else np.copysign(np.inf, end)) - bias
    tail = float(stdtr(people - 1, quantile * np.sqrt((people - 1) / people)))
    return float(np.clip(2 * min(tail, 1 - tail), 2 * smallest, 1.0))


def _bias_and_acceleration(value: float, draws: Floats, left_out: Floats) -> tuple[float, float]:
    """Return bias and acceleration of BCa; the acceleration is 0 where estimates do not vary."""
    below = (np.mean(draws < value) + np.mean(draws <= value)) / 2
    smallest = 1 / (len(draws) + 1)
    gap = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    size = float((gap**2).sum()) ** 1.5
    acceleration = float((gap**3).sum()) / (6 * size) if size > 0 else 0.0
    return float(ndtri(np.clip(below, smallest, 1 - smallest))), acceleration
