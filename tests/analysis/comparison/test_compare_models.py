"""Test differences of models on the same cases, their tests, Holm over tasks, and error messages."""

import numpy as np
import pandas as pd
import pytest

from braindino.analysis.comparison.compare_models import COLUMNS, adjust_p_values, compare_models
from braindino.analysis.comparison.differences import compare_pairings
from braindino.analysis.comparison.pairing import pair_predictions
from braindino.analysis.metrics.estimates import estimate
from tests.helpers.predictions import cells, classification, regression, segmentation, survival

FEW = 200  # resamples


def rows_of(first, second, **options):
    return pd.DataFrame(compare_pairings(pair_predictions(first, second), FEW, **options))


def test_compare_pairings_tests_of_a_classification():
    first, second = cells(classification, signal=2.0), cells(classification, signal=0.8)
    rows = rows_of(first, second)
    whole = rows[rows["stratum"] == "all"].set_index(["metric", "test"])
    assert set(whole.index) == {
        *(("auroc", "DeLong"), ("accuracy", "McNemar"), ("accuracy", "permutation")),
        *(("balanced_accuracy", "bootstrap"), ("f1", "bootstrap")),
    }
    auroc = whole.loc[("auroc", "DeLong")]
    tests = [table[table["split"] == "test"] for table in (first, second)]
    values = [
        estimate([t for _, t in table.groupby("seed")], 0)["metrics"]["auroc"]["value"] for table in tests
    ]
    assert [auroc["value_first"], auroc["value_second"]] == pytest.approx(values)
    assert auroc["difference"] == pytest.approx(values[0] - values[1])
    assert auroc["low"] > 0
    assert auroc["p"] < 0.001
    assert (auroc["cases"], auroc["people"], auroc["seeds"]) == (78, 78, 2)
    # DeLong's interval is that of resampling people, as both are about the mean over seeds.
    half = 1.96 * auroc["difference"] / auroc["statistic"]
    assert half == pytest.approx((auroc["high"] - auroc["low"]) / 2, rel=0.2)
    bands = rows[rows["stratum"] != "all"]
    assert bands["stratum"].tolist() == ["age 50-59", "age 60-69", "age 70-79", "age 80-89"]
    assert set(bands["metric"]) == {"auroc"}


@pytest.mark.parametrize(
    ("make", "better", "worse", "metric", "tests"),
    [
        (regression, {"noise": 2.0}, {"noise": 9.0}, "mae", ["Wilcoxon", "permutation"]),
        (survival, {"signal": 3.0}, {"signal": 0.2}, "c_index", ["bootstrap"]),
        (segmentation, {"level": 0.8}, {"level": 0.6}, "dice", ["Wilcoxon", "permutation"]),
        (segmentation, {"level": 0.8}, {"level": 0.6}, "dice_core", ["Wilcoxon", "permutation"]),
        (segmentation, {"level": 0.8}, {"level": 0.6}, "hd95", ["Wilcoxon", "permutation"]),
        (segmentation, {"level": 0.8}, {"level": 0.6}, "volume_error_ml", ["Wilcoxon", "permutation"]),
        (
            segmentation,
            {"level": 0.8, "counted": True},
            {"level": 0.6, "counted": True},
            "lesion_f1",
            ["Wilcoxon", "permutation"],
        ),
        (
            segmentation,
            {"level": 0.8, "counted": True},
            {"level": 0.6, "counted": True},
            "lesion_count_error",
            ["Wilcoxon", "permutation"],
        ),
        (
            segmentation,
            {"level": 0.8, "counted": True},
            {"level": 0.6, "counted": True},
            "nsd",
            ["Wilcoxon", "permutation"],
        ),
    ],
)
def test_compare_pairings_tests_of_other_tasks(make, better, worse, metric, tests):
    first, second = cells(make, **better), cells(make, **worse)
    table = rows_of(first, second)
    rows = table[(table["stratum"] == "all") & (table["metric"] == metric)]
    assert rows["test"].tolist() == tests
    assert (rows["p"] < 0.05).all()
    if tests[0] == "Wilcoxon" and metric != "hd95":  # a mean over all cases: the statistic is the difference
        assert rows["statistic"].iloc[1] == pytest.approx(rows["difference"].iloc[1])
    assert rows_of(first, first)["p"].eq(1).all()


def test_compare_pairings_lesion_metrics_match_hand_computed_values():
    """Two test cases of the second model have other lesion counts."""
    table = cells(segmentation, cases=36, seeds=(0,), regions=("lesion",))
    tested = table.index[table["split"] == "test"]
    better = table.assign(true_lesions=4.0, predicted_lesions=4.0, lesion_f1=1.0)
    worse = better.copy()
    worse.loc[tested[0], ["predicted_lesions", "lesion_f1"]] = [7.0, 0.5]
    worse.loc[tested[1], ["predicted_lesions", "lesion_f1"]] = [2.0, 0.6]
    table = rows_of(better, worse)
    rows = table[table["stratum"] == "all"].set_index(["metric", "test"])
    assert rows.loc[("lesion_f1", "Wilcoxon"), "difference"] == pytest.approx(0.9 / len(tested))
    assert rows.loc[("lesion_count_error", "permutation"), "statistic"] == pytest.approx(-5 / len(tested))
    assert rows.loc[("lesion_count_error", "permutation"), "p"] == pytest.approx(0.5, abs=0.03)  # 2 of 4
    assert rows.loc[("volume_error_ml", "Wilcoxon"), "p"] == 1
    uncounted = worse.drop(columns=["true_lesions", "predicted_lesions", "lesion_f1"])
    for tables in ((better, uncounted), (uncounted, better)):
        metrics = set(rows_of(*tables)["metric"])
        assert metrics == {"dice", "hd95", "volume_error_ml"}


def test_compare_models_excludes_nsd_of_different_tolerances():
    first, second = (cells(segmentation, level=level, counted=True) for level in (0.8, 0.6))
    tables = {"first": {"brats": first}, "second": {"brats": second}}
    table, notes = compare_models(tables, resamples=50)
    assert {"nsd", "pq"} <= set(table["metric"])
    assert notes == []
    tables["second"] = {"brats": second.assign(nsd_tolerance=1.0)}
    table, notes = compare_models(tables, resamples=50)
    assert "nsd" not in set(table["metric"])
    assert "pq" in set(table["metric"])
    assert notes == ["brats: nsd of first and second is not compared, it has different tolerances."]


def test_compare_models_compares_false_positives_in_empty_cases():
    first, second = (cells(segmentation, level=level, regions=("lesion",)) for level in (0.8, 0.6))
    odd = first["case"].str[-3].astype(int) % 2 == 1
    first.loc[odd, ["true_ml", "predicted_ml", "dice", "hd95"]] = [0.0, 0.0, np.nan, np.nan]
    second.loc[odd, ["true_ml", "predicted_ml", "dice", "hd95"]] = [0.0, 0.5, np.nan, np.nan]
    table, _ = compare_models({"first": {"t": first}, "second": {"t": second}}, resamples=50)
    rows = table[table["test"] == "Wilcoxon"].set_index("metric")
    assert rows.loc["case_specificity", "difference"] == 1
    assert rows.loc["false_positive_ml", "difference"] == -0.5


def test_compare_models_uses_what_both_have_and_notes_the_rest():
    first = cells(classification, seeds=(0, 1, 2), fractions=(0.5, 1.0)).drop(columns="age")
    second = cells(classification, seeds=(1, 2, 3), signal=0.5)
    moved = second["group"].isin(sorted(second.loc[second["split"] == "test", "group"])[:5])
    second.loc[moved, "split"] = "val"
    table, notes = compare_models({"a": {"adni": first}, "b": {"adni": second}}, resamples=FEW)
    assert set(table["seeds"]) == {2}
    assert set(table["fraction"]) == {1.0}
    assert table.loc[table["stratum"] == "all", "cases"].eq(76).all()
    assert notes == [
        "adni: compared on the 76 test cases of both; excluded: 2 of a, 0 of b, whose splits differ.",
        "adni: a and b share seed 1, 2; excluded: 0, 3.",
        "adni: a and b share fraction 1; excluded: 0.5.",
    ]


def other_labels(table):
    table.loc[table["case"] == "made:004:0", "target"] = "AD"
    return table


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_labels, "case made:004:0: target MCI in the first, AD in the second"),
        (lambda table: table.assign(group="x" + table["group"]), "group made:003 in the first, xmade:003"),
        (
            lambda table: cells(classification, classes=("CN", "AD")),
            r"different classes: \['CN', 'MCI', 'AD'\]",
        ),
        (lambda table: cells(regression), "different tasks: classification and regression"),
    ],
)
def test_compare_models_rejects_contradicting_tables(change, message):
    table = cells(classification)
    with pytest.raises(ValueError, match=f"adni, a and b: .*{message}"):
        compare_models({"a": {"adni": table}, "b": {"adni": change(table.copy())}}, resamples=FEW)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda table: table[table["split"] != "test"].assign(split="test"),
            "no test case is in both: their splits differ, or they are of different datasets",
        ),
        (
            lambda table: table.assign(seed=7),
            "no seed (at 100% of the labels) in common: 0, 1 in the first, 7 in the second",
        ),
        (
            lambda table: table.assign(fraction=0.1),
            "no label fraction in common: 1 in the first, 0.1 in the second",
        ),
    ],
)
def test_compare_models_excludes_and_names_a_pair_that_shares_nothing(change, message):
    table = cells(classification)
    models = {"a": {"adni": table}, "b": {"adni": change(table.copy())}}
    compared, notes = compare_models(models, resamples=FEW)
    assert compared.empty
    assert list(compared.columns) == list(COLUMNS)
    assert notes == [f"adni: a and b are not compared, {message}."]
    compared, more_notes = compare_models({**models, "c": {"adni": table}}, resamples=FEW)
    assert set(compared["second"]) == {"c"}
    assert more_notes == notes


def test_compare_models_stand_ins_pair_runs_of_the_same_fraction():
    models = {
        f"{name}_{fraction:.0%}": {"adni": cells(classification, fractions=(fraction,), signal=signal)}
        for name, signal in (("ours", 1.0), ("random", 0.5))
        for fraction in (1.0, 0.25)
    }
    without, notes = compare_models(models, resamples=FEW)
    assert set(zip(without["first"], without["second"], strict=True)) == {("ours_100%", "random_100%")}
    assert len(notes) == 2
    table, notes = compare_models(models, resamples=FEW, stand_ins=True)
    pairs = {("ours_100%", "random_100%"), ("ours_25%", "random_25%")}
    assert set(zip(table["first"], table["second"], strict=True)) == pairs
    assert notes == [
        "adni: ours_100% and ours_25% are not compared, no label fraction in common: 1 in the first, 0.25 in "
        "the second.",
        "adni: ours_100% and random_25% are not compared, no label fraction in common: 1 in the first, 0.25 "
        "in the second; random_25% is compared with ours_25%.",
    ]
    every, notes = compare_models(models, True, FEW)
    assert set(zip(every["first"], every["second"], strict=True)) == pairs
    assert len(notes) == 4


def test_compare_models_adjusts_main_tests_over_tasks_and_pairs():
    models = {
        name: {
            "diagnosis": cells(classification, signal=signal, cases=60).drop(columns="age"),
            "sex": cells(classification, signal=1 + signal, cases=60, classes=("F", "M")),
            "age": cells(regression, noise=3 / signal, cases=60).drop(columns="age"),
        }
        for name, signal in (("a", 1.0), ("b", 0.9), ("c", 0.5))
    }
    table, notes = compare_models(models, resamples=50)
    assert notes == []
    assert list(table.columns) == list(COLUMNS)
    assert set(zip(table["first"], table["second"], strict=True)) == {("a", "b"), ("a", "c")}
    main = table[table["family"] == "main test"]
    assert len(main) == 6
    assert set(main["test"]) == {"DeLong", "Wilcoxon"}
    smallest = main.sort_values("p").iloc[0]
    assert smallest["p_holm"] == pytest.approx(min(1, 6 * smallest["p"]))
    assert (main["p_holm"] >= main["p"]).all()
    every, _ = compare_models({name: {"age": tasks["age"]} for name, tasks in models.items()}, True, 50)
    assert len(every[every["family"] == "main test"]) == 3


def test_compare_pairings_treats_visits_of_a_person_as_one_person():
    once = cells(classification, cases=60, visits=1), cells(classification, cases=60, signal=0.6)
    copies = [
        pd.concat([table.assign(case=table["case"] + f"/{i}") for i in range(6)], ignore_index=True)
        for table in once
    ]
    few, many = rows_of(*once), rows_of(*copies)
    for metric, test in (("auroc", "DeLong"), ("accuracy", "permutation")):
        ps = [
            t.loc[(t["metric"] == metric) & (t["test"] == test) & (t["stratum"] == "all"), "p"].item()
            for t in (few, many)
        ]
        assert ps[0] == pytest.approx(ps[1], abs=0.02)


def test_adjust_p_values_keeps_undefined_p_values():
    row = {
        **dict.fromkeys(COLUMNS, "x"),
        "kind": "classification",
        "stratum": "all",
        "metric": "auroc",
        "test": "DeLong",
    }
    table = adjust_p_values(pd.DataFrame([{**row, "p": None}, {**row, "p": 0.01}]))
    assert table["p_holm"].tolist() == pytest.approx([np.nan, 0.01], nan_ok=True)


def test_compare_models_rejects_models_without_a_common_task():
    with pytest.raises(ValueError, match="a and b have no task in common"):
        compare_models({"a": {"x": cells(classification)}, "b": {"y": cells(classification)}})
