"""Test units of targets in headings."""

import pytest

from braindino.analysis.metrics.headlines import heading, unit_of


@pytest.mark.parametrize(
    ("target", "unit"),
    [
        ("age", "years"),
        ("Age", "years"),
        ("brain_age", "years"),
        ("survival_days", "days"),
        ("age_months", "months"),
        ("volume-ml", "ml"),
        ("mmse", ""),
        ("label", ""),
    ],
)
def test_unit_of_reads_the_name_of_the_target(target, unit):
    assert unit_of([target]) == unit


def test_heading_shows_the_unit_of_errors_only():
    results = {"task": "regression", "unit": "years"}
    assert [heading(name, results) for name in ("mae", "rmse", "r2")] == ["mae (years)", "rmse (years)", "r2"]
    assert heading("mae", {"task": "regression"}) == "mae"
    assert heading("c_index", {"task": "survival", "unit": "days"}) == "c_index"
    assert unit_of([]) == ""
