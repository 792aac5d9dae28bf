"""Confidence intervals from resamples of people: bias-corrected, accelerated, wide enough for few of them."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

Floats = NDArray[np.float64]


def bca_interval(
    value: float, draws: Floats, left_out: Floats, people: int, confidence: float = 0.95
) -> tuple[float, float]:
    """The BCa interval (Efron 1987, "Better bootstrap confidence intervals") at expanded levels.

    A percentile interval of n people is too narrow, as if a standard deviation were divided by n and a normal
    quantile taken: Hesterberg (2015, "What teachers should know about the bootstrap", section 4.4.1) takes
    percentiles further out, by sqrt(n / (n - 1)) and Student's t for the normal. Both together held the truth
    in 95 % of the samples of 20 to 100 people, percentiles in 91 to 94 % (benchmarks/interval_coverage.py).

    Args:
        value: the estimate. draws: (R,) the same of R resamples of the people; left_out: (G,) without each of
            the people, or of G groups of them. All are finite.
        people: how many there are.
    """
    if people < 2 or not np.isfinite(value):
        return float("nan"), float("nan")
    bias, acceleration = _shape(value, draws, left_out)
    far = float(stdtrit(people - 1, (1 - confidence) / 2)) * np.sqrt(people / (people - 1))
    ends = bias + np.array([far, -far])
    bend = 1 - acceleration * ends
    # Past the pole the formula turns round; the outermost draw is what it comes from.
    shifted = np.where(bend > 0, ndtr(bias + ends / np.where(bend > 0, bend, 1.0)), [0.0, 1.0])
    low, high = np.quantile(draws, shifted)
    return float(low), float(high)


def level_at_zero(value: float, draws: Floats, left_out: Floats, people: int) -> float:
    """Two-sided p value: the level at which an end of `interval` just touches 0.

    Never below 2 / (R + 1), the finest that R draws can tell.
    """
    bias, acceleration = _shape(value, draws, left_out)
    below = float(np.mean(draws < 0) + np.mean(draws <= 0)) / 2
    finest = 1 / (len(draws) + 1)
    if below in (0.0, 1.0):  # no interval between draws reaches 0
        return 2 * finest
    end = float(ndtri(np.clip(below, finest, 1 - finest))) - bias
    bend = 1 + acceleration * end
    far = (end / bend if bend > 0 else np.copysign(np.inf, end)) - bias
    tail = float(stdtr(people - 1, far * np.sqrt((people - 1) / people)))
    return float(np.clip(2 * min(tail, 1 - tail), 2 * finest, 1.0))


def _shape(value: float, draws: Floats, left_out: Floats) -> tuple[float, float]:
    """Bias and acceleration of BCa; 0 where the draws do not differ."""
    below = (np.mean(draws < value) + np.mean(draws <= value)) / 2
    finest = 1 / (len(draws) + 1)
    gap = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    size = float((gap**2).sum()) ** 1.5
    acceleration = float((gap**3).sum()) / (6 * size) if size > 0 else 0.0
    return float(ndtri(np.clip(below, finest, 1 - finest))), acceleration
