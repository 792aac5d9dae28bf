"""Test estimates with intervals from resampling people."""

import time

import numpy as np
import pandas as pd
import pytest

from braindino.analysis.metrics.estimates import compare_estimates, estimate
from braindino.analysis.metrics.task_metrics import confusion_counts


def predictions(cases=120, people=None, signal=1.0, seed=0, classes=("CN", "MCI", "AD")):
    rng = np.random.default_rng(seed)
    target = np.arange(cases) % len(classes)
    raw = np.exp(rng.normal(size=(cases, len(classes))) + signal * np.eye(len(classes))[target])
    probability = raw / raw.sum(axis=1, keepdims=True)
    owner = np.arange(cases) % (people or cases)
    return pd.DataFrame(
        {
            "case": [f"case{index}" for index in range(cases)],
            "group": [f"d:{index}" for index in owner],
            "split": "test",
            "seed": seed,
            "fraction": 1.0,
            "target": np.array(classes)[target],
            "prediction": np.array(classes)[probability.argmax(axis=1)],
            **{f"prob_{name}": probability[:, index] for index, name in enumerate(classes)},
        }
    )


def width(result, name="accuracy"):
    return result["metrics"][name]["high"] - result["metrics"][name]["low"]


def test_estimate_interval_includes_the_value_and_is_deterministic():
    first = estimate([predictions()], seed=3)
    assert first == estimate([predictions()], seed=3)
    assert first != estimate([predictions()], seed=4)
    for metric in first["metrics"].values():
        assert metric["low"] <= metric["value"] <= metric["high"]
        assert metric["sd"] is None


def test_estimate_interval_of_accuracy_agrees_with_the_binomial():
    # Independent cases: the percentile interval of a mean is the normal one, p +- 1.96 sqrt(p (1-p) / n).
    table = predictions(cases=400)
    result = estimate([table], resamples=4000)
    share = result["metrics"]["accuracy"]["value"]
    assert width(result) == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 400), rel=0.06)


def test_estimate_draws_cases_of_a_person_together():
    # Ten copies of each person's case carry no more information than one.
    once = predictions(cases=60)
    copies = pd.concat([once.assign(case=once["case"] + f"-{index}") for index in range(10)])
    alone = copies.assign(group=copies["case"])
    assert width(estimate([copies])) == pytest.approx(width(estimate([once])), rel=0.1)
    assert width(estimate([alone])) < 0.5 * width(estimate([once]))


def test_estimate_interval_of_random_labels_includes_chance():
    table = predictions(cases=150, signal=0.0)
    metric = estimate([table])["metrics"]["auroc"]
    assert metric["low"] < 0.5 < metric["high"]


@pytest.mark.parametrize(("carriers", "has_interval"), [(1, False), (2, False), (4, True)])
def test_estimate_has_no_interval_for_a_class_of_one_or_two_people(carriers, has_interval):
    table = predictions(cases=60)
    people = table.loc[table["target"] == "AD", "group"].unique()[:carriers]
    table = table[(table["target"] != "AD") | table["group"].isin(people)]
    result = estimate([table])
    assert result["redrawn"] > 0
    assert (result["metrics"]["auroc"]["low"] is not None) == has_interval
    assert (compare_estimates([table], [table])["auroc"]["low"] is not None) == has_interval


def test_estimate_uses_the_same_draws_for_all_seeds():
    tables = [predictions(seed=seed) for seed in range(3)]
    result = estimate(tables)
    values = [estimate([table], resamples=0)["metrics"]["auroc"]["value"] for table in tables]
    metric = result["metrics"]["auroc"]
    assert metric["value"] == pytest.approx(np.mean(values))
    assert metric["sd"] == pytest.approx(np.std(values, ddof=1))
    same = estimate([tables[0], tables[0]])["metrics"]["auroc"]
    single = estimate([tables[0]])["metrics"]["auroc"]
    assert (same["low"], same["high"]) == (single["low"], single["high"])
    assert same["sd"] == 0


def test_estimate_undefined_numbers_are_none():
    table = predictions()
    result = estimate([table[table["target"] == "CN"]])["metrics"]
    assert result["auroc"] == {"value": None, "low": None, "high": None, "sd": None}
    assert estimate([table], resamples=0)["metrics"]["auroc"]["low"] is None


def test_estimate_recognises_a_regression_by_its_columns():
    rng = np.random.default_rng(0)
    age = rng.uniform(20, 80, size=50)
    table = predictions(cases=50)[["case", "group", "split", "seed", "fraction"]]
    result = estimate([table.assign(target=age, prediction=age + 5.0)])["metrics"]
    assert result["mae"] == {
        "value": pytest.approx(5),
        "low": pytest.approx(5),
        "high": pytest.approx(5),
        "sd": None,
    }
    assert result["pearson"]["value"] == pytest.approx(1)


def test_confusion_counts_has_a_row_per_true_class():
    table = predictions(cases=30, signal=9.0)
    assert confusion_counts(table) == [[10, 0, 0], [0, 10, 0], [0, 0, 10]]


def test_estimate_does_not_depend_on_the_block_size(monkeypatch):
    whole = estimate([predictions()])
    monkeypatch.setattr("braindino.analysis.metrics.estimates.BLOCK", 1000)
    parts = estimate([predictions()])
    for name, metric in whole["metrics"].items():
        assert parts["metrics"][name] == pytest.approx(metric)


def test_estimate_of_500_cases_takes_at_most_two_seconds():
    table = predictions(cases=500)
    started = time.process_time()
    estimate([table])
    assert time.process_time() - started < 2


def test_compare_estimates_is_paired():
    better, worse = predictions(signal=2.0), predictions(signal=1.0)
    difference = compare_estimates([better], [worse])["auroc"]
    one, two = (estimate([table])["metrics"]["auroc"] for table in (better, worse))
    assert difference["value"] == pytest.approx(one["value"] - two["value"])
    # Same noise in both tables: the difference is known better than either.
    assert difference["high"] - difference["low"] < two["high"] - two["low"]
    equal = compare_estimates([better], [better])["auroc"]
    assert (equal["high"], equal["p"]) == (0, 1)
    with pytest.raises(ValueError, match="same cases"):
        compare_estimates([better], [worse[:-1]])


def test_compare_estimates_p_value_agrees_with_the_interval():
    tables = [predictions(signal=signal, cases=200) for signal in (1.0, 1.2, 2.0)]
    near, far = (compare_estimates([tables[0]], [table])["auroc"] for table in tables[1:])
    for numbers in (near, far):
        assert (numbers["p"] < 0.05) == (not numbers["low"] < 0 < numbers["high"])
    assert far["p"] == pytest.approx(2 / 1001)
    assert compare_estimates([tables[0]], [tables[1]], resamples=0)["auroc"]["p"] is None
