"""From the predictions of all cells to results.json and metrics.csv."""

from typing import Any

import pandas as pd

from braindino.analysis.headlines import HEADLINES, LOWER_IS_BETTER
from braindino.analysis.predictions import class_names, task_of
from braindino.analysis.statistics import compare, confusion_of, estimate
from braindino.analysis.subgroups import subgroups, without_age_bias
from braindino.analysis.survival import kaplan_meier_by_risk


def summarise(
    predictions: pd.DataFrame, facts: list[dict[str, Any]], resamples: int
) -> dict[str, list[dict[str, Any]]]:
    """Estimates of every cell, and over the seeds of every fraction.

    Args:
        predictions: rows of predictions.csv of all cells.
        facts: what each cell tells of its training; in the order in which cells are to be listed.
        resamples: draws of people for the intervals.

    Returns:
        `cells`: the facts with `val` and `test` estimates (`test` with its confusion matrix, or
        its Kaplan-Meier curves by risk); `summary`: per
        fraction, the mean over seeds with its interval over people (`value`, `low`, `high`) and the deviation
        over seeds (`sd`).
    """
    tables = dict(iter(predictions.groupby(["seed", "fraction", "split"], sort=False)))
    cells: list[dict[str, Any]] = []
    per_fraction: dict[float, list[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame | None]]] = {}
    for fact in facts:
        val, test = (tables[fact["seed"], fact["fraction"], part] for part in ("val", "test"))
        train = tables.get((fact["seed"], fact["fraction"], "train"))
        cell = {
            **fact,
            "val": estimate([val], resamples=0, train=[train]),
            "test": estimate([test], resamples, train=[train]),
        }
        if class_names(test):
            cell["confusion"] = confusion_of(test)
        if task_of(test) == "survival" and train is not None:
            cell["kaplan_meier"] = kaplan_meier_by_risk(test, train)
        cells.append(cell)
        per_fraction.setdefault(fact["fraction"], []).append((fact, test, train))
    summary = [
        {
            "fraction": fraction,
            "seeds": [fact["seed"] for fact, _, _ in members],
            "train_cases": [fact["train_cases"] for fact, _, _ in members],
            "test": estimate(
                [test for _, test, _ in members], resamples, train=[train for _, _, train in members]
            ),
        }
        for fraction, members in per_fraction.items()
    ]
    return {"cells": cells, "summary": summary}


def add_details(results: dict[str, Any], predictions: pd.DataFrame, resamples: int) -> None:
    """Put `subgroups`, and for brain age `without_age_bias`, into each line of the `summary`."""
    names = HEADLINES[results["task"]]
    for line in results["summary"]:
        chosen = predictions[predictions["fraction"] == line["fraction"]]
        parts = {
            part: [chosen[(chosen["seed"] == seed) & (chosen["split"] == part)] for seed in line["seeds"]]
            for part in ("train", "val", "test")
        }
        train = parts["train"] if results["task"] == "survival" else None
        line["subgroups"] = subgroups(parts["test"], names, resamples, train)
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
        numbers = compare(sides[0], sides[1], resamples)[metric]
        low, high = numbers["low"], numbers["high"]
        beaten = None
        if low is not None and high is not None:
            beaten = high < 0 if metric in LOWER_IS_BETTER else low > 0
        found.append({"fraction": float(fraction), "metric": metric, **numbers, "beaten": beaten})
    return found


def metrics_table(results: dict[str, Any]) -> pd.DataFrame:
    """One row per model, fraction, seed ("mean" over them) and metric: value, low, high, sd."""
    rows = []
    for model, part in models(results).items():
        for cell in part["cells"]:
            for split in ("val", "test"):
                for name, numbers in cell[split]["metrics"].items():
                    row = {"model": model, "fraction": cell["fraction"], "seed": cell["seed"]}
                    rows.append({**row, "metric": f"{split}/{name}", **numbers})
        for line in part["summary"]:
            for name, numbers in line["test"]["metrics"].items():
                row = {"model": model, "fraction": line["fraction"], "seed": "mean"}
                rows.append({**row, "metric": f"test/{name}", **numbers})
    return pd.DataFrame(rows)


def models(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The probe and its baselines, each with `cells` and `summary`."""
    return {"probe": results, **results["baselines"]}
