"""Test the differences of a probe to its baselines."""

import pandas as pd
import pytest

from braindino.analysis.results import advantage, is_error
from tests.helpers.predictions import cells, regression, segmentation


def test_advantage_of_a_segmentation_covers_all_metrics_and_regions() -> None:
    probe, baseline = (cells(segmentation, level=level, counted=True) for level in (0.8, 0.7))
    lines = {line["metric"]: line for line in advantage(probe, baseline, "segmentation", 200)}
    assert list(lines)[:3] == ["dice", "dice_whole", "dice_core"]
    assert {"nsd", "nsd_core", "hd95", "hd95_whole", "volume_error_ml", "lesion_f1", "pq"} <= set(lines)
    # A test case has both regions, so that the mean over regions is the mean over rows.
    tests = [table[table["split"] == "test"] for table in (probe, baseline)]
    expected = tests[0]["dice"].mean() - tests[1]["dice"].mean()
    assert lines["dice"]["value"] == pytest.approx(expected)
    assert lines["dice"]["beaten"]
    assert lines["hd95_core"]["value"] < 0
    assert lines["hd95_core"]["beaten"]
    assert 0 < lines["dice"]["low"] < lines["dice"]["value"] < lines["dice"]["high"]


def test_advantage_of_one_region_names_it_once() -> None:
    table = cells(segmentation, regions=("lesion",))
    metrics = [line["metric"] for line in advantage(table, table, "segmentation", 20)]
    assert "dice" in metrics
    assert not [name for name in metrics if name.endswith("_lesion")]


def test_advantage_pairs_the_seeds_and_fractions_that_both_have() -> None:
    probe = cells(regression, seeds=(0, 1, 2), fractions=(0.1, 1.0))
    baseline = cells(regression, seeds=(0, 2), fractions=(1.0,), noise=9.0)
    (line,) = advantage(probe, baseline, "regression", 50)
    assert (line["fraction"], line["metric"], line["beaten"]) == (1.0, "mae", True)
    errors = []
    for table in (probe, baseline):
        rows = table[(table["split"] == "test") & (table["fraction"] == 1) & table["seed"].isin([0, 2])]
        errors.append((rows["prediction"] - rows["target"]).abs().mean())
    assert line["value"] == pytest.approx(errors[0] - errors[1])
    assert advantage(probe, pd.DataFrame(columns=probe.columns), "regression", 50) == []


def test_is_error_reads_names_with_a_region() -> None:
    assert [is_error(name) for name in ("hd95", "hd95_core", "mae", "dice_core", "nsd")] == [
        *(True, True, True, False, False)
    ]
