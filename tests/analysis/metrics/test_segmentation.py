"""Test segmentations in predictions.csv: the format, the means, the intervals, and empty masks."""

import numpy as np
import pandas as pd
import pytest

from braindino.analysis.metrics.estimates import compare_estimates, estimate
from braindino.analysis.metrics.headlines import headlines
from braindino.analysis.metrics.segmentation import count_empty, nsd_tolerance, segmentation_metrics
from braindino.analysis.metrics.subgroups import subgroups
from braindino.analysis.predictions import (
    check_predictions,
    format_predictions,
    read_predictions,
    task_of,
)

NAN = float("nan")
MEASURES = {  # case -> region -> dice, hd95, true_ml, predicted_ml
    "a": {"WT": (0.9, 2.0, 30.0, 33.0), "ET": (0.5, 4.0, 5.0, 4.0)},
    "b": {"WT": (0.8, 3.0, 20.0, 20.0), "ET": (NAN, NAN, 0.0, 0.0)},
    "c": {"WT": (0.7, 6.0, 10.0, 16.0), "ET": (NAN, NAN, 0.0, 2.0)},
}


def table(measures=MEASURES, seed=0):
    rows = [
        {
            **{"case": case, "group": f"p:{case}", "split": "test", "seed": seed, "fraction": 1.0},
            **{"region": region, "dice": dice, "hd95": hd95, "true_ml": true, "predicted_ml": predicted},
            **{"sex": "F", "age": 61.5},
        }
        for case, regions in measures.items()
        for region, (dice, hd95, true, predicted) in regions.items()
    ]
    return pd.DataFrame(rows)


def test_read_predictions_reads_a_segmentation_exactly(tmp_path):
    file = tmp_path / "predictions.csv"
    file.write_text(format_predictions(table()))
    assert file.read_text().splitlines()[0] == (
        "case,group,split,seed,fraction,region,dice,hd95,true_ml,predicted_ml,sex,age"
    )
    read = read_predictions(file)
    assert task_of(read) == "segmentation"
    pd.testing.assert_frame_equal(read, table()[list(read.columns)])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"dice": 1.2}, "case a: dice is no number from 0 to 1"),
        ({"dice": NAN}, "case a: dice is no number from 0 to 1"),
        ({"hd95": -1.0}, "case a: hd95 is no distance"),
        ({"true_ml": NAN}, "case a: a volume is no number"),
        ({"region": "TC"}, "lacks a region that other cases have"),
        ({"region": "ET"}, "case a occurs twice in seed 0, fraction 1.0, region ET"),
    ],
)
def test_check_predictions_rejects_a_wrong_segmentation(change, reason):
    wrong = table()
    for column, value in change.items():
        wrong.loc[0, column] = value
    with pytest.raises(ValueError, match=reason):
        check_predictions(wrong)


def test_segmentation_metrics_are_means_over_cases_then_regions():
    metrics = {name: float(value[0]) for name, value in segmentation_metrics(table()).items()}
    assert metrics == pytest.approx(
        {
            "dice": (0.8 + 0.5) / 2,
            "dice_WT": 0.8,
            "dice_ET": 0.5,  # of the one case that has it
            "hd95": (11 / 3 + 4) / 2,  # of ET one case only has a distance
            "hd95_WT": 11 / 3,
            "hd95_ET": 4.0,
            "volume_error_ml": (3 + 1) / 2,
            "volume_error_ml_WT": 3.0,
            "volume_error_ml_ET": 1.0,
            "case_specificity": 0.5,  # of the two cases without ET; every case has WT
            "case_specificity_WT": NAN,
            "case_specificity_ET": 0.5,
            "false_positive_ml": 1.0,
            "false_positive_ml_WT": NAN,
            "false_positive_ml_ET": 1.0,
        },
        nan_ok=True,
    )


def test_segmentation_metrics_weights_count_rows():
    weights = np.repeat([[2.0, 1.0, 0.0], [0.0, 1.0, 1.0]], 2, axis=1)
    metrics = segmentation_metrics(table(), weights)
    assert metrics["dice_WT"] == pytest.approx([2.6 / 3, 0.75])
    assert metrics["hd95_ET"][0] == 4
    assert np.isnan(metrics["hd95_ET"][1])
    assert metrics["hd95"][1] == pytest.approx(metrics["hd95_WT"][1])


def test_measures_of_an_empty_truth_are_blank_whatever_the_file_contains():
    older = table({"a": {"lesion": (1.0, NAN, 0.0, 0.0)}, "b": {"lesion": (0.0, NAN, 0.0, 3.0)}})
    older = older.assign(true_lesions=0.0, predicted_lesions=[0.0, 2.0], lesion_f1=[1.0, 0.0])
    metrics = segmentation_metrics(older)
    assert np.isnan([metrics[name][0] for name in ("dice", "dice_lesion", "hd95", "lesion_f1")]).all()
    assert metrics["volume_error_ml"][0] == 1.5
    whole = estimate([older], resamples=100)["metrics"]
    assert whole["dice"] == {"value": None, "low": None, "high": None, "sd": None}


def test_count_empty_counts_empty_masks():
    assert count_empty(table()) == {
        "WT": {"cases": 3, "true_empty": 0, "predicted_empty": 0, "both_empty": 0},
        "ET": {"cases": 3, "true_empty": 2, "predicted_empty": 1, "both_empty": 1},
    }


def test_estimate_draws_people_with_all_their_regions():
    rng = np.random.default_rng(0)
    many = {
        f"c{i}": {"WT": (d, 1 / (d + 0.1), 5.0, 4.0), "ET": (d, 2.0, 1.0, 1.5)}
        for i, d in enumerate(rng.uniform(0.3, 0.9, 40))
    }
    one = estimate([table(many)], resamples=500)
    assert (one["cases"], one["people"], one["redrawn"]) == (40, 40, 0)
    dice = one["metrics"]["dice"]
    # Both regions of a case are equal: the interval is that of 40 numbers, not of 80.
    half = 1.96 * np.std([row["WT"][0] for row in many.values()]) / np.sqrt(40)
    assert dice["high"] - dice["low"] == pytest.approx(2 * half, rel=0.15)
    worse = {c: {r: (m[0] - 0.1, *m[1:]) for r, m in regions.items()} for c, regions in many.items()}
    gain = compare_estimates([table(many)], [table(worse)], 200)["dice"]
    assert gain["low"] == pytest.approx(0.1)
    groups = subgroups([table(many)], ("dice",), 100)["sex"]
    assert groups[0]["cases"] == 40
    assert groups[0]["metrics"]["dice"]["value"] == pytest.approx(dice["value"])


def test_headlines_name_several_regions():
    assert headlines("segmentation", ["WT", "ET"]) == (
        "dice",
        "dice_WT",
        "dice_ET",
        "hd95",
        "volume_error_ml",
    )
    assert headlines("segmentation", ["lesion"]) == ("dice", "hd95", "volume_error_ml")


def test_segmentation_metrics_include_counted_lesions():
    table = pd.DataFrame(
        {
            "region": ["a", "a"],
            "dice": [1.0, 0.0],
            "hd95": [0.0, np.nan],
            "true_ml": [1.0, 1.0],
            "predicted_ml": [1.0, 0.0],
            "true_lesions": [2.0, 1.0],
            "predicted_lesions": [2.0, 4.0],
            "lesion_f1": [1.0, 0.4],
        }
    )
    metrics = segmentation_metrics(table)
    assert metrics["lesion_f1"][0] == metrics["lesion_f1_a"][0] == pytest.approx(0.7)
    assert metrics["lesion_count_error"][0] == pytest.approx(1.5)
    assert "lesion_f1" not in segmentation_metrics(table.drop(columns=["lesion_f1"]))


def with_later_columns(changes=()):
    """Return two cases of a region with every column, and one without the region and a false positive."""
    rows = table(
        {
            "a": {"lesion": (0.9, 2.0, 5.0, 6.0)},
            "b": {"lesion": (0.0, NAN, 3.0, 0.0)},
            "c": {"lesion": (NAN, NAN, 0.0, 2.0)},
        }
    )
    rows = rows.assign(
        true_lesions=[2.0, 1.0, 0.0],
        predicted_lesions=[2.0, 0.0, 1.0],
        lesion_f1=[1.0, 0.0, NAN],
        rq=[0.5, 0.0, NAN],
        sq=[0.8, NAN, NAN],
        pq=[0.4, 0.0, NAN],
        nsd=[0.7, 0.0, NAN],
        nsd_tolerance=2.0,
    )
    return rows.assign(**dict(changes))


def test_segmentation_metrics_include_later_columns(tmp_path):
    file = tmp_path / "predictions.csv"
    file.write_text(format_predictions(with_later_columns()))
    read = read_predictions(file)
    assert nsd_tolerance(read) == 2
    metrics = {name: values[0] for name, values in segmentation_metrics(read).items()}
    expected = {
        "nsd": 0.35,
        "rq": 0.25,
        "sq": 0.8,
        "pq": 0.2,
        "case_specificity": 0.0,
        "false_positive_ml": 2.0,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert {name: metrics[f"{name}_lesion"] for name in expected} == pytest.approx(expected)
    assert nsd_tolerance(table()) is None
    assert not {"nsd", "pq"} & set(segmentation_metrics(table()))


@pytest.mark.parametrize("column", ["nsd", "rq", "sq", "pq", "lesion_f1"])
def test_check_predictions_rejects_shares_above_one(column):
    check_predictions(with_later_columns())
    with pytest.raises(ValueError, match=f"case a: {column} is no number from 0 to 1"):
        check_predictions(with_later_columns({column: [1.1, 0.0, NAN]}))


def test_estimate_of_empty_cases_has_intervals_and_reasons():
    many = {f"c{i}": {"lesion": (NAN, NAN, 0.0, float(i % 3))} for i in range(30)}
    many |= {f"d{i}": {"lesion": (0.5, 2.0, 1.0, 1.0)} for i in range(30)}
    result = estimate([table(many)], resamples=300)
    specificity, volume = (result["metrics"][name] for name in ("case_specificity", "false_positive_ml"))
    assert specificity["value"] == pytest.approx(1 / 3)
    assert volume["value"] == pytest.approx(1.0)
    assert specificity["low"] < 1 / 3 < specificity["high"]
    assert volume["low"] < 1 < volume["high"]
    full = estimate([table({f"d{i}": {"lesion": (0.5, 2.0, 1.0, 1.0)} for i in range(9)})], resamples=100)
    for name in ("case_specificity", "false_positive_ml_lesion"):
        assert full["metrics"][name]["value"] is None
        assert full["undefined"][name] == "every case has lesion"


def test_estimate_gives_reasons_of_undefined_later_metrics():
    missed = with_later_columns({"rq": [0.0, 0.0, NAN], "sq": NAN, "pq": [0.0, 0.0, NAN]})
    reasons = estimate([missed], resamples=0)["undefined"]
    assert set(reasons) == {"sq", "sq_lesion"}
    assert reasons["sq"].startswith("no lesion of any case overlaps its prediction by more than half")
    columns = ("nsd", "nsd_tolerance", "lesion_f1", "true_lesions", "predicted_lesions")
    earlier = with_later_columns(dict.fromkeys(columns, NAN))
    reasons = estimate([with_later_columns(), earlier], resamples=0)["undefined"]  # a seed of each version
    for name in ("nsd", "lesion_f1", "lesion_count_error_lesion"):
        assert "not measured by the version" in reasons[name]
    assert nsd_tolerance(earlier) is None
