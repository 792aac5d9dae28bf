"""Compute regression metrics, for one sample or for many weighted resamples of it at once."""

import numpy as np
from numpy.typing import ArrayLike

from braindino.analysis.metrics.weighting import Floats, ratio, weights_of


def regression_metrics(
    target: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None
) -> dict[str, Floats]:
    """`mae`, `rmse`, `r2` and `pearson` of each of R weightings of the same N cases.

    Args:
        target, prediction: (N,), in the unit of the target.
        weights: (R, N), how often each case counts; one row of ones if not given.

    Returns:
        name -> (R,); NaN where undefined (`r2` and `pearson` of a constant).
    """
    truth, guess = np.asarray(target, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if truth.shape != guess.shape or truth.ndim != 1:
        raise ValueError(f"target is {truth.shape}, prediction is {guess.shape}; expected two equal vectors")
    weight = weights_of(weights, len(truth))
    total = weight.sum(axis=1)
    error = guess - truth
    squared = weight @ error**2
    # Centring on the plain means first keeps the moments of a resample from cancelling.
    x, y = truth - truth.mean(), guess - guess.mean()
    spread_x = _moment(weight, x, x, total)
    spread_y = _moment(weight, y, y, total)
    return {
        "mae": ratio(weight @ np.abs(error), total),
        "rmse": np.sqrt(ratio(squared, total)),
        "r2": 1 - ratio(squared, spread_x),
        "pearson": ratio(_moment(weight, x, y, total), np.sqrt(spread_x * spread_y)),
    }


def _moment(weight: Floats, x: Floats, y: Floats, total: Floats) -> Floats:
    """Weighted sum of products about the weighted means; exactly 0 where rounding is all that is left."""
    raw = weight @ (x * y)
    moment = raw - ratio((weight @ x) * (weight @ y), total)
    size = np.sqrt((weight @ x**2) * (weight @ y**2))
    return np.where(np.abs(moment) <= 1e-12 * size, 0.0, moment)
