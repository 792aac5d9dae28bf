"""Test the comparison of new scans with training scans."""

import copy

import pandas as pd
import pytest

from braindino.files import read_json
from braindino.probing.predict.checks import TRAINING_SCANS, check_scan, write_training_scans

PLAIN = {
    "foreground": 0.3, "volume": 1400.0, "oblique": 2.0, "axes": "LAS", "affine_source": "sform",
    **{f"spacing/{axis}": 1.0 for axis in ("slices", "rows", "columns")},
    **{f"shape/{axis}": 200 for axis in ("slices", "rows", "columns")},
    **{f"extent/{axis}": 150.0 for axis in ("slices", "rows", "columns")},
    **{f"intensity/{q}": (q - 50) / 25 for q in (1, 5, 25, 50, 75, 95, 99)},
}  # fmt: skip


@pytest.fixture
def reference(tmp_path, monkeypatch):
    """Return the record of 20 training scans that differ a little."""
    made = {
        f"k{i}": {**PLAIN, "foreground": 0.25 + 0.005 * i, "spacing/slices": 1 + 0.01 * i} for i in range(20)
    }
    monkeypatch.setattr("braindino.probing.predict.checks.measure", lambda store, key: made[key])
    cases = pd.DataFrame({"split": ["train"] * 21 + ["test"], "key_T1w": [*made, "", "elsewhere"]})
    write_training_scans(tmp_path, cases, ("T1w",), None)
    return read_json(tmp_path / TRAINING_SCANS)["T1w"]


def deviations(reference, native=False, **changes):
    return [(each.check, each.rejects) for each in check_scan({**PLAIN, **changes}, reference, native)]


def test_write_training_scans_measures_training_scans_only(reference):
    assert (reference["scans"], reference["axes"], reference["stripped"]) == (20, ["LAS"], 1.0)
    assert reference["missing"] == pytest.approx(1 / 21)
    assert reference["range"]["spacing/slices"] == pytest.approx([1, 1.19], abs=1e-3)


def test_check_scan_passes_a_scan_like_those_of_training(reference):
    assert deviations(reference) == []
    assert deviations(reference, foreground=0.2, **{"spacing/slices": 1.3}) == []  # a little outside


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"spacing/slices": 5.0}, [("spacing", False)]),
        ({"shape/rows": 20}, [("shape", False)]),
        ({"foreground": 0.05}, [("foreground", False)]),
        ({"intensity/50": -1.5, "intensity/99": 9.0}, [("intensity", False)]),
        ({"foreground": 0.97}, [("stripped", True), ("foreground", False)]),
        ({"volume": 4000.0}, [("stripped", True)]),
        ({"affine_source": "none"}, [("orientation", True)]),
        ({"affine_source": "analyze"}, [("orientation", False)]),
        ({"oblique": 40.0}, [("orientation", False)]),
    ],
)
def test_check_scan_names_each_deviation(reference, changes, expected):
    assert deviations(reference, **changes) == expected


def test_check_scan_message_has_both_numbers(reference):
    (finding,) = check_scan({**PLAIN, "spacing/slices": 5.0, "spacing/rows": 2.0}, reference, native=False)
    assert finding.message == "slices 5 mm, not 1 to 1.19; rows 2 mm, not 1 to 1 (training: 20 scans)"


def test_check_scan_compares_axes_of_a_native_encoder(reference):
    assert deviations(reference, native=True, axes="LAS") == []
    assert deviations(reference, native=True, axes="RAS") == [("orientation", True)]
    assert deviations(reference, axes="RAS") == []


def test_check_scan_rejects_stripped_scans_for_a_probe_of_heads(reference):
    heads = {**copy.deepcopy(reference), "stripped": 0.0}
    assert deviations(heads) == [("stripped", True)]
    assert deviations(heads, volume=4000.0) == []
    mixed = {**reference, "stripped": 0.5}
    assert deviations(mixed) == deviations(mixed, volume=4000.0) == []


def test_write_training_scans_writes_once(reference, tmp_path):
    before = (tmp_path / TRAINING_SCANS).read_bytes()
    write_training_scans(tmp_path, pd.DataFrame(), ("T1w",), None)
    assert (tmp_path / TRAINING_SCANS).read_bytes() == before


def test_check_scan_writes_ordinals_of_percentiles(reference):
    checked = check_scan({**PLAIN, "intensity/1": -9.0, "intensity/95": 9.0}, reference, False)
    assert "1st percentile -9, not" in checked[0].message
    assert "95th percentile 9, not" in checked[0].message
