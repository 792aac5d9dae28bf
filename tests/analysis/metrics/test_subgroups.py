"""Test subgroups: every case is in one group of each trait, and small groups have no numbers."""

import pytest

from braindino.analysis.metrics.subgroups import subgroups
from tests.helpers.predictions import brain_ages


def test_subgroups_put_every_case_into_one_group():
    table = brain_ages()
    results = subgroups([table, table], ("mae",), 50)
    assert list(results) == ["sex", "age"]
    assert [(g["group"], g["cases"], g["too_small"]) for g in results["sex"]] == [
        ("F", 25, False),
        ("M", 30, False),
        ("unknown", 5, True),
    ]
    women = table[table["sex"] == "F"]
    mae = results["sex"][0]["metrics"]["mae"]
    assert mae["value"] == pytest.approx((women["prediction"] - women["target"]).abs().mean())
    assert mae["low"] < mae["value"] < mae["high"]
    assert results["sex"][2]["metrics"] is None
    bands = [group["group"] for group in results["age"]]
    assert bands == ["20-29", "30-39", "40-49", "50-59", "60-69", "70-79", "80-89", "unknown"]
    assert sum(group["cases"] for group in results["age"]) == 60
