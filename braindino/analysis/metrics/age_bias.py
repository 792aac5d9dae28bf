"""Evaluate brain age after its bias towards the mean age is removed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from braindino.analysis.metrics.estimates import estimate
from braindino.analysis.predictions import FOLD

# Slope of brain age by age; below it, removing the bias multiplies errors by more than five.
MIN_SLOPE = 0.2


def without_age_bias(
    vals: Sequence[pd.DataFrame], tests: Sequence[pd.DataFrame], resamples: int
) -> dict[str, Any]:
    """Return regression metrics of brain age without its bias towards the mean age.

    The line `prediction = intercept + slope age` is fitted on validation, and `(prediction - intercept) /
    slope` (Cole et al. 2018, "Brain age predicts mortality") does not use the true age of a test case.
    (Subtracting the expected error at the *true* age, as is also done, makes a constant a perfect predictor.)
    All errors are multiplied by 1 / slope, so that there is no result where the slope is not significantly
    above 0 (Fieller's condition) or is below `MIN_SLOPE`.

    Args:
        vals: rows of predictions.csv of validation, one table per seed. In cross-validation each fold has its
            own line.
        tests: rows of the test part, likewise.
        resamples: draws of people for the intervals.

    Returns:
        `slope` and `intercept` (per seed, or seed and fold), `metrics`, and `undefined`: the reason why
        `metrics` is None, or an empty string.
    """
    corrected, lines = [], []
    for val, test in zip(vals, tests, strict=True):
        parts = []
        for fold in sorted(test[FOLD].unique()) if FOLD in test else [None]:
            fitted, evaluated = (part if fold is None else part[part[FOLD] == fold] for part in (val, test))
            line = _fit_line(fitted)
            lines.append(line)
            if line.slope and line.intercept is not None:
                unbiased = (evaluated["prediction"] - line.intercept) / line.slope
                parts.append(evaluated.assign(prediction=unbiased))
        corrected += [pd.concat(parts)] if parts else []
    reason = next((line.problem for line in lines if line.problem), "")
    return {
        "slope": [line.slope for line in lines],
        "intercept": [line.intercept for line in lines],
        "metrics": None if reason else estimate(corrected, resamples)["metrics"],
        "undefined": reason,
    }


class _Line(NamedTuple):
    """The line prediction = intercept + slope age.

    Attributes:
        slope: None if no line can be fitted.
        intercept: None likewise.
        problem: the reason why the bias cannot be removed, or an empty string.
    """

    slope: float | None
    intercept: float | None
    problem: str


def _fit_line(table: pd.DataFrame) -> _Line:
    """Fit predictions by age by least squares."""
    age = table["target"].to_numpy(dtype=np.float64)
    prediction = table["prediction"].to_numpy(dtype=np.float64)
    if len(age) < 3 or np.ptp(age) == 0:
        return _Line(None, None, "validation has fewer than three cases, or one age only")
    slope = float(np.cov(age, prediction, bias=True)[0, 1] / age.var())
    intercept = float(prediction.mean() - slope * age.mean())
    residual = prediction - intercept - slope * age
    error = float(np.sqrt((residual**2).sum() / (len(age) - 2) / age.var() / len(age)))
    problem = ""
    if slope <= float(stdtrit(len(age) - 2, 0.975)) * error:
        problem = f"predictions do not rise with age (slope {slope:.2f} on validation)"
    elif slope < MIN_SLOPE:
        problem = f"slope {slope:.2f} on validation: errors would grow {1 / slope:.0f} times"
    return _Line(slope, intercept, problem)
