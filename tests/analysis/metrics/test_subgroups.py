"""Subgroups: every case in one group of each trait, small groups without numbers; the bias of brain age."""

import numpy as np
import pandas as pd
import pytest

from braindino.analysis.metrics.age_bias import without_age_bias
from braindino.analysis.metrics.subgroups import subgroups


def predictions(count=60, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.uniform(20, 90, size=count)
    names = [f"p{index:03d}" for index in range(count)]
    return pd.DataFrame(
        {
            "case": names,
            "group": names,
            "split": "test",
            "seed": 0,
            "fraction": 1.0,
            "target": age,
            "prediction": 30 + 0.5 * age + rng.normal(size=count),
            "sex": np.where(np.arange(count) < 25, "F", np.where(np.arange(count) < 55, "M", "")),
            "age": np.where(np.arange(count) == 0, np.nan, age),
        }
    )


def test_every_case_is_in_one_group():
    table = predictions()
    found = subgroups([table, table], ("mae",), 50)
    assert list(found) == ["sex", "age"]
    assert [(g["group"], g["cases"], g["too_small"]) for g in found["sex"]] == [
        ("F", 25, False),
        ("M", 30, False),
        ("unknown", 5, True),
    ]
    women = table[table["sex"] == "F"]
    mae = found["sex"][0]["metrics"]["mae"]
    assert mae["value"] == pytest.approx((women["prediction"] - women["target"]).abs().mean())
    assert mae["low"] < mae["value"] < mae["high"]
    assert found["sex"][2]["metrics"] is None
    bands = [group["group"] for group in found["age"]]
    assert bands == ["20-29", "30-39", "40-49", "50-59", "60-69", "70-79", "80-89", "unknown"]
    assert sum(group["cases"] for group in found["age"]) == 60


def test_the_line_of_validation_is_taken_out():
    found = without_age_bias([predictions(200, 1)], [predictions(80, 2)], 50)
    assert found["slope"][0] == pytest.approx(0.5, abs=0.02)
    assert found["metrics"]["mae"]["value"] < 2.5  # a deviation of 1 year over the slope
    assert found["metrics"]["r2"]["value"] > 0.95


def test_no_line_no_correction():
    table = predictions()
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
    table = predictions(400, 1)
    flat = table.assign(prediction=50 + 0.05 * table["target"] + rng.normal(0, 0.1, len(table)))
    found = without_age_bias([flat], [flat], 20)
    assert (found["metrics"], found["undefined"]) == (
        None,
        "slope 0.05 on validation: errors would grow 20 times",
    )
    noise = table.assign(prediction=50 + 0.3 * table["target"] + rng.normal(0, 300, len(table)))
    found = without_age_bias([noise.head(40)], [noise], 20)
    assert found["metrics"] is None
    assert "do not rise with age" in found["undefined"]
