"""Compute regression metrics for many weighted resamples of a sample at once."""

import numpy as np
from numpy.typing import ArrayLike

from braindino.analysis.metrics.weighting import Floats, check_weights, ratio


def regression_metrics(
    target: ArrayLike, prediction: ArrayLike, weights: ArrayLike | None = None
) -> dict[str, Floats]:
    """Return `mae`, `rmse`, `r2` and `pearson` for each of R weightings of the same N cases.

    Args:
        target: (N,) true values.
        prediction: (N,) predicted values, in the same unit.
        weights: (R, N), how often each case counts; by default one row of ones.

    Returns:
        name -> (R,); NaN where undefined (`r2` and `pearson` of a constant).

    Raises:
        ValueError: no cases, or shapes that do not fit.
    """
    truth, predicted = np.asarray(target, dtype=np.float64), np.asarray(prediction, dtype=np.float64)
    if truth.shape != predicted.shape or truth.ndim != 1:
        raise ValueError(
            f"target is {truth.shape}, prediction is {predicted.shape}; expected two equal vectors"
        )
    weight = check_weights(weights, len(truth))
    total = weight.sum(axis=1)
    error = predicted - truth
    squared = weight @ error**2
    # Centring on the unweighted means first avoids cancellation in the moments of a resample.
    x, y = truth - truth.mean(), predicted - predicted.mean()
    spread_x = _moment(weight, x, x, total)
    spread_y = _moment(weight, y, y, total)
    return {
        "mae": ratio(weight @ np.abs(error), total),
        "rmse": np.sqrt(ratio(squared, total)),
        "r2": 1 - ratio(squared, spread_x),
        "pearson": ratio(_moment(weight, x, y, total), np.sqrt(spread_x * spread_y)),
    }


def _moment(weight: Floats, x: Floats, y: Floats, total: Floats) -> Floats:
    """Return the weighted sum of products about the weighted means; rounding errors are 0."""
    raw = weight @ (x * y)
    moment = raw - ratio((weight @ x) * (weight @ y), total)
    size = np.sqrt((weight @ x**2) * (weight @ y**2))
    return np.where(np.abs(moment) <= 1e-12 * size, 0.0, moment)
