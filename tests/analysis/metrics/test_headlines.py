"""Test headlines, and units in headings."""

import pytest

from braindino.analysis.metrics.headlines import heading, shown_headlines, unit_of


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
    assert heading("hd95", {}) == "hd95 (mm)"
    assert unit_of([]) == ""


def segmented(*names, **keys):
    metrics = {name: {"value": 0.5, "low": None, "high": None, "sd": None} for name in names}
    summary = [{"fraction": 1.0, "test": {"metrics": metrics}}]
    return {"task": "segmentation", "classes": ["a", "b"], "summary": summary, "baselines": {}, **keys}


def test_shown_headlines_include_nsd_where_all_studies_have_it_at_one_tolerance():
    old, new = segmented("dice"), segmented("dice", "nsd", nsd_tolerance=2.0)
    assert shown_headlines([new]) == ("dice", "dice_a", "dice_b", "nsd", "hd95", "volume_error_ml")
    assert "nsd" not in shown_headlines([old])
    assert "nsd" not in shown_headlines([new, old])
    assert "nsd" not in shown_headlines([new, segmented("nsd", nsd_tolerance=1.0)])
    assert heading("nsd", new) == "nsd (2 mm)"
    assert heading("nsd", old) == "nsd"
    survival = {**old, "task": "survival"}
    assert shown_headlines([survival]) == ("c_index", "c_index_ipcw", "integrated_brier", "td_auc")
