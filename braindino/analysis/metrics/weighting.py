"""Compute weighted sums, ratios and means for many resamples at once."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def weights_of(weights: ArrayLike | None, cases: int) -> Floats:
    """(R, cases): the weights, checked; one row of ones if there are none."""
    if cases == 0:
        raise ValueError("there are no cases to evaluate")
    if weights is None:
        return np.ones((1, cases))
    weight = np.asarray(weights, dtype=np.float64)
    if weight.ndim != 2 or weight.shape[1] != cases:
        raise ValueError(f"weights are {weight.shape}, expected (resamples, {cases})")
    return weight


def ratio(numerator: Floats, denominator: Floats) -> Floats:
    """The quotient; NaN where the denominator is 0."""
    result = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)


def nanmean(values: Floats) -> Floats:
    """Mean of each row over the entries that are defined."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=1), defined.sum(axis=1).astype(np.float64))
