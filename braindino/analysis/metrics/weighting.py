"""Compute ratios and means under many weightings of the same cases at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def check_weights(weights: ArrayLike | None, cases: int) -> Floats:
    """Return weights (R, N), or one row of ones for None.

    Args:
        weights: (R, N), how often each case counts.
        cases: N.

    Raises:
        ValueError: there are no cases, or the shape is wrong.
    """
    if cases == 0:
        raise ValueError("there are no cases to evaluate")
    if weights is None:
        return np.ones((1, cases))
    weight = np.asarray(weights, dtype=np.float64)
    if weight.ndim != 2 or weight.shape[1] != cases:
        raise ValueError(f"weights are {weight.shape}, expected (resamples, {cases})")
    return weight


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Return a quotient, NaN where the denominator is 0.

    Args:
        numerator: any shape.
        denominator: broadcast against it.
    """
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=result, where=denominator != 0)
    return result


def nanmean(values: Floats) -> Floats:
    """Return the mean of each row over its entries that are not NaN; NaN if there are none.

    Args:
        values: (R, M).
    """
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
