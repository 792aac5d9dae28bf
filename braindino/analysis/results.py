"""From the predictions of all cells to results.json and metrics.csv."""

import math
from typing import Any

import pandas as pd

from braindino.analysis.metrics.age_bias import without_age_bias
from braindino.analysis.metrics.estimates import compare_estimates, estimate
from braindino.analysis.metrics.headlines import HEADLINES, LOWER_IS_BETTER, headlines
from braindino.analysis.metrics.segmentation import count_empty
from braindino.analysis.metrics.subgroups import subgroups
from braindino.analysis.metrics.survival import kaplan_meier_by_risk
from braindino.analysis.metrics.task_metrics import confusion_of
from braindino.analysis.predictions import FOLD, cell_columns, class_names, task_of


def summarise(
    predictions: pd.DataFrame, facts: list[dict[str, Any]], resamples: int
) -> dict[str, list[dict[str, Any]]]:
    """Estimates of every cell, and over the seeds of every fraction.

    Args:
        predictions: rows of predictions.csv of all cells, on `align_risks`.
        facts: what each cell tells of its training; in the order in which cells are to be listed.
        resamples: draws of people for the intervals.

    Returns:
        `cells`: the facts with `val` and `test` estimates (`test` with its confusion matrix, or its
        Kaplan-Meier curves by risk); `summary`: per fraction, the mean over seeds with its interval over
        people (`value`, `low`, `high`) and the deviation over seeds (`sd`). In cross-validation the tests of
        all folds are taken together, so that everybody is in once; then `folds` of a line of the summary
        has, per metric, the `values` of the folds (means over seeds) with their `mean` and `sd`, and `pooled`
        the estimates of each seed.
    """
    by = cell_columns(predictions)
    tables = dict(iter(predictions.groupby([*by, "split"], sort=False)))
    whole = dict(iter(predictions.groupby(["seed", "fraction", "split"], sort=False)))
    cells = []
    for fact in facts:
        where = tuple(fact[name] for name in by)
        val, test, train = (tables.get((*where, part)) for part in ("val", "test", "train"))
        assert val is not None
        assert test is not None
        cells.append(
            {**fact, "val": estimate([val], resamples=0, train=[train]), **_tested(test, train, resamples)}
        )
    summary = []
    for fraction in dict.fromkeys(cell["fraction"] for cell in cells):
        members = [cell for cell in cells if cell["fraction"] == fraction]
        seeds = list(dict.fromkeys(cell["seed"] for cell in members))
        tests, trains = ([whole.get((seed, fraction, part)) for seed in seeds] for part in ("test", "train"))
        line: dict[str, Any] = {
            "fraction": fraction,
            "seeds": seeds,
            "train_cases": [cell["train_cases"] for cell in members],
            "test": estimate([test for test in tests if test is not None], resamples, train=trains),
        }
        if FOLD in by:
            line["folds"] = _over_folds(members)
            line["pooled"] = [
                {"seed": seed, **_tested(test, train, resamples)}
                for seed, test, train in zip(seeds, tests, trains, strict=True)
                if test is not None
            ]
        summary.append(line)
    return {"cells": cells, "summary": summary}


def _tested(test: pd.DataFrame, train: pd.DataFrame | None, resamples: int) -> dict[str, Any]:
    found: dict[str, Any] = {"test": estimate([test], resamples, train=[train])}
    if class_names(test):
        found["confusion"] = confusion_of(test)
    if task_of(test) == "survival" and train is not None:
        found["kaplan_meier"] = kaplan_meier_by_risk(test, train)
    if task_of(test) == "segmentation":
        found["empty"] = count_empty(test)
    return found


def _over_folds(cells: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """metric -> `values` per fold (None where a seed's is undefined), `mean` and `sd` of those that are."""
    found = {}
    for name in cells[0]["test"]["metrics"]:
        table = pd.DataFrame(
            [(cell["fold"], cell["test"]["metrics"][name]["value"]) for cell in cells],
            columns=[FOLD, "value"],
        ).astype({"value": float})
        values = table.groupby(FOLD)["value"].agg(lambda each: each.mean(skipna=False))
        numbers = {"mean": values.mean(), "sd": values.std()}
        found[name] = {
            "values": [None if math.isnan(value) else value for value in values],
            **{key: None if math.isnan(number) else float(number) for key, number in numbers.items()},
        }
    return found


def add_details(results: dict[str, Any], predictions: pd.DataFrame, resamples: int) -> None:
    """Put `subgroups` into each line of the `summary`; of brain age also `without_age_bias`.

    Of a segmentation `nothing_to_find`: per region, in how many test cases the truth is empty.
    """
    names = headlines(results["task"], results["classes"])
    for line in results["summary"]:
        chosen = predictions[predictions["fraction"] == line["fraction"]]
        parts = {
            part: [chosen[(chosen["seed"] == seed) & (chosen["split"] == part)] for seed in line["seeds"]]
            for part in ("train", "val", "test")
        }
        train = parts["train"] if results["task"] == "survival" else None
        line["subgroups"] = subgroups(parts["test"], names, resamples, train)
        if results["task"] == "segmentation":
            counts = count_empty(parts["test"][0])
            line["nothing_to_find"] = {name: count["true_empty"] for name, count in counts.items()}
        if results["target"] == ["age"]:
            line["without_age_bias"] = without_age_bias(parts["val"], parts["test"], resamples)


def advantage(
    predictions: pd.DataFrame, baseline: pd.DataFrame, task: str, resamples: int
) -> list[dict[str, Any]]:
    """Per fraction: how much the probe is better than a baseline, in the first headline of the task.

    Args:
        predictions, baseline: rows of predictions.csv of the same cells.

    Returns:
        Dictionaries of `fraction`, `metric`, `value`, `low`, `high`, `sd`, `p` (probe minus baseline) and
        `beaten`: whether the whole interval is on the better side; None where there is no interval.
    """
    metric = HEADLINES[task][0]
    found = []
    for fraction in predictions["fraction"].unique():
        sides = []
        for table in (predictions, baseline):
            test = table[(table["fraction"] == fraction) & (table["split"] == "test")]
            sides.append([rows for _, rows in test.groupby("seed", sort=False)])
        numbers = compare_estimates(sides[0], sides[1], resamples)[metric]
        low, high = numbers["low"], numbers["high"]
        beaten = None
        if low is not None and high is not None:
            beaten = high < 0 if metric in LOWER_IS_BETTER else low > 0
        found.append({"fraction": float(fraction), "metric": metric, **numbers, "beaten": beaten})
    return found


def metrics_table(results: dict[str, Any]) -> pd.DataFrame:
    """One row per model, fraction, seed ("mean" over them), fold if any, and metric: value, low, high, sd."""
    rows = []
    for model, part in models(results).items():
        for cell in part["cells"]:
            for split in ("val", "test"):
                for name, numbers in cell[split]["metrics"].items():
                    row = {"model": model, "fraction": cell["fraction"], "seed": cell["seed"]}
                    row |= {FOLD: cell[FOLD]} if FOLD in cell else {}
                    rows.append({**row, "metric": f"{split}/{name}", **numbers})
        for line in part["summary"]:
            for name, numbers in line["test"]["metrics"].items():
                row = {"model": model, "fraction": line["fraction"], "seed": "mean"}
                rows.append({**row, "metric": f"test/{name}", **numbers})
    return pd.DataFrame(rows)


def models(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The probe and its baselines, each with `cells` and `summary`."""
    return {"probe": results, **results["baselines"]}
