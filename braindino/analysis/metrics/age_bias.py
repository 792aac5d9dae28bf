"""Evaluate brain age after its bias towards the mean age is removed."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from braindino.analysis.metrics.estimates import estimate
from braindino.analysis.predictions import FOLD

MIN_SLOPE = 0.2  # of brain age by age, below which taking the bias out multiplies errors more than five times


def without_age_bias(
    vals: Sequence[pd.DataFrame], tests: Sequence[pd.DataFrame], resamples: int
) -> dict[str, Any]:
    """Regression metrics of brain age after the line `prediction = intercept + slope age` was taken out.

    The line is fitted on validation, and `(prediction - intercept) / slope` (Cole et al. 2018, "Brain age
    predicts mortality") needs no true age of a test case. (Subtracting the expected error at the *true* age,
    as is also done, would make a perfect predictor of a constant.) It multiplies every error by 1 / slope:
    where the slope is not told from 0 (Fieller's condition) or is below `MIN_SLOPE` there is no result.

    Args:
        vals: rows of predictions.csv of validation, one table per seed. Of cross-validation each fold has a
            line of its own.
        tests: rows of the test part, likewise.
        resamples: draws of people for the intervals.

    Returns:
        `slope`, `intercept` (per seed, or seed and fold), `metrics`, and `undefined`: why `metrics` is None,
        or nothing.
    """
    corrected, lines, reason = [], [], ""
    for val, test in zip(vals, tests, strict=True):
        folds = sorted(test[FOLD].unique()) if FOLD in test else [None]
        parts = []
        for fold in folds:
            seen, asked = (part if fold is None else part[part[FOLD] == fold] for part in (val, test))
            line = _line(seen)
            reason = reason or line.unfit
            lines.append(line)
            if line.slope and line.intercept is not None:
                unbiased = (asked["prediction"] - line.intercept) / line.slope
                parts.append(asked.assign(prediction=unbiased))
        corrected += [pd.concat(parts)] if parts else []
    return {
        "slope": [line.slope for line in lines],
        "intercept": [line.intercept for line in lines],
        "metrics": None if reason else estimate(corrected, resamples)["metrics"],
        "undefined": reason,
    }


class _Line(NamedTuple):
    """prediction = intercept + slope age; `unfit`: why it cannot be taken out, or nothing."""

    slope: float | None
    intercept: float | None
    unfit: str


def _line(table: pd.DataFrame) -> _Line:
    age = table["target"].to_numpy(dtype=np.float64)
    guess = table["prediction"].to_numpy(dtype=np.float64)
    if len(age) < 3 or np.ptp(age) == 0:
        return _Line(None, None, "validation has fewer than three cases, or one age only")
    slope = float(np.cov(age, guess, bias=True)[0, 1] / age.var())
    intercept = float(guess.mean() - slope * age.mean())
    error = float(
        np.sqrt(((guess - intercept - slope * age) ** 2).sum() / (len(age) - 2) / age.var() / len(age))
    )
    if slope <= float(stdtrit(len(age) - 2, 0.975)) * error:
        return _Line(slope, intercept, f"predictions do not rise with age (slope {slope:.2f} on validation)")
    if slope < MIN_SLOPE:
        return _Line(
            slope, intercept, f"slope {slope:.2f} on validation: errors would grow {1 / slope:.0f} times"
        )
    return _Line(slope, intercept, "")
