"""Test brain age without its bias towards the mean."""

import numpy as np
import pytest

from braindino.analysis.metrics.age_bias import without_age_bias
from tests.helpers.predictions import brain_ages


def test_without_age_bias_removes_the_line_of_validation():
    results = without_age_bias([brain_ages(200, 1)], [brain_ages(80, 2)], 50)
    assert results["slope"][0] == pytest.approx(0.5, abs=0.02)
    assert results["metrics"]["mae"]["value"] < 2.5  # a deviation of 1 year over the slope
    assert results["metrics"]["r2"]["value"] > 0.95


def test_without_age_bias_is_blank_without_a_rising_line():
    table = brain_ages()
    falling = without_age_bias([table.assign(prediction=-table["target"])], [table], 0)
    assert (falling["metrics"], falling["slope"]) == (None, [pytest.approx(-1.0)])
    assert falling["undefined"] == "predictions do not rise with age (slope -1.00 on validation)"
    few = without_age_bias([table.head(2)], [table], 0)
    assert few == {
        "slope": [None],
        "intercept": [None],
        "metrics": None,
        "undefined": "validation has fewer than three cases, or one age only",
    }


def test_without_age_bias_is_blank_where_the_slope_is_near_zero():
    rng = np.random.default_rng(0)
    table = brain_ages(400, 1)
    flat = table.assign(prediction=50 + 0.05 * table["target"] + rng.normal(0, 0.1, len(table)))
    results = without_age_bias([flat], [flat], 20)
    assert (results["metrics"], results["undefined"]) == (
        None,
        "slope 0.05 on validation: errors would grow 20 times",
    )
    noise = table.assign(prediction=50 + 0.3 * table["target"] + rng.normal(0, 300, len(table)))
    results = without_age_bias([noise.head(40)], [noise], 20)
    assert results["metrics"] is None
    assert "do not rise with age" in results["undefined"]
