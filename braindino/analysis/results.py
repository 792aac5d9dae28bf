"""Compute results.json and metrics.csv from the predictions of all cells of a study."""

import math
from typing import Any

import pandas as pd

from braindino.analysis.metrics.age_bias import without_age_bias
from braindino.analysis.metrics.estimates import compare_estimates, estimate
from braindino.analysis.metrics.headlines import COMPARED_TOO, HEADLINES, LOWER_IS_BETTER, headlines
from braindino.analysis.metrics.segmentation import count_empty, nsd_tolerance, regions_of
from braindino.analysis.metrics.subgroups import subgroups
from braindino.analysis.metrics.survival import kaplan_meier_by_risk
from braindino.analysis.metrics.task_metrics import confusion_counts
from braindino.analysis.predictions import FOLD, cell_columns, class_names, task_of

# Measures of a mask that are compared with baselines region by region, beside Dice.
BY_REGION = ("nsd", "hd95")
Parts = dict[tuple[Any, ...], pd.DataFrame]  # keys and part of the split -> rows of predictions.csv


def summarise(
    predictions: pd.DataFrame, facts: list[dict[str, Any]], resamples: int
) -> dict[str, list[dict[str, Any]]]:
    """Estimate the metrics of every cell, and over the seeds of every label fraction.

    Args:
        predictions: rows of predictions.csv of all cells, after `align_risks`.
        facts: facts about the training of each cell, with its `seed`, `fraction` (and `fold`); in the
            order in which cells are listed.
        resamples: draws of people for the intervals.

    Returns:
        `cells`: the facts with `val` and `test` estimates (`test` with its confusion matrix, or its
        Kaplan-Meier curves by risk); `summary`: per fraction, the mean over seeds with its interval over
        people (`value`, `low`, `high`) and the deviation over seeds (`sd`). In cross-validation the tests of
        all folds are joined, so that each person is tested once; then `folds` of a line of the summary
        has, per metric, the `values` of the folds (means over seeds) with their `mean` and `sd`, and `pooled`
        the estimates of each seed.
    """
    keys = cell_columns(predictions)
    parts: Parts = dict(iter(predictions.groupby([*keys, "split"], sort=False)))
    joined: Parts = dict(iter(predictions.groupby(["seed", "fraction", "split"], sort=False)))
    cells = [_cell(fact, tuple(fact[name] for name in keys), parts, resamples) for fact in facts]
    summary = []
    for fraction in dict.fromkeys(cell["fraction"] for cell in cells):
        members = [cell for cell in cells if cell["fraction"] == fraction]
        summary.append(_summary_line(fraction, members, joined, FOLD in keys, resamples))
    return {"cells": cells, "summary": summary}


def _cell(fact: dict[str, Any], key: tuple[Any, ...], parts: Parts, resamples: int) -> dict[str, Any]:
    """Return the facts of a cell with its estimates."""
    train = parts.get((*key, "train"))
    val = estimate([parts[*key, "val"]], resamples=0, train=[train])
    return {**fact, "val": val, **_test_results(parts[*key, "test"], train, resamples)}


def _summary_line(
    fraction: float, cells: list[dict[str, Any]], joined: Parts, folds: bool, resamples: int
) -> dict[str, Any]:
    """Return the line of a label fraction.

    Args:
        fraction: the label fraction.
        cells: cells of that fraction.
        joined: rows by seed, fraction and part of the split, over all folds.
        folds: whether the study is cross-validated.
        resamples: draws of people for the intervals.
    """
    seeds = list(dict.fromkeys(cell["seed"] for cell in cells))
    tests = {seed: joined[seed, fraction, "test"] for seed in seeds}
    trains = {seed: joined.get((seed, fraction, "train")) for seed in seeds}
    line: dict[str, Any] = {
        "fraction": fraction,
        "seeds": seeds,
        "train_cases": [cell["train_cases"] for cell in cells],
        "test": estimate(list(tests.values()), resamples, train=list(trains.values())),
    }
    if folds:
        line["folds"] = _over_folds(cells)
        line["pooled"] = [
            {"seed": seed, **_test_results(tests[seed], trains[seed], resamples)} for seed in seeds
        ]
    return line


def _test_results(test: pd.DataFrame, train: pd.DataFrame | None, resamples: int) -> dict[str, Any]:
    """Return the estimates of a test part, and what the figures of its task show."""
    results: dict[str, Any] = {"test": estimate([test], resamples, train=[train])}
    if class_names(test):
        results["confusion"] = confusion_counts(test)
    if task_of(test) == "survival" and train is not None:
        results["kaplan_meier"] = kaplan_meier_by_risk(test, train)
    if task_of(test) == "segmentation":
        results["empty"] = count_empty(test)
    return results


def _over_folds(cells: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return each metric's `values` per fold, with `mean` and `sd` of those that are defined.

    The value of a fold is None if it is undefined for a seed.
    """
    spreads = {}
    for name in cells[0]["test"]["metrics"]:
        table = pd.DataFrame(
            [(cell["fold"], cell["test"]["metrics"][name]["value"]) for cell in cells],
            columns=[FOLD, "value"],
        ).astype({"value": float})
        values = table.groupby(FOLD)["value"].agg(lambda each: each.mean(skipna=False))
        numbers = {"mean": values.mean(), "sd": values.std()}
        spreads[name] = {
            "values": [None if math.isnan(value) else value for value in values],
            **{key: None if math.isnan(number) else float(number) for key, number in numbers.items()},
        }
    return spreads


def add_details(results: dict[str, Any], predictions: pd.DataFrame, resamples: int) -> None:
    """Add details to each line of the `summary` of results.json.

    They are `subgroups`; of brain age `without_age_bias`; and of a segmentation `nothing_to_find`, the number
    of test cases with an empty truth by region. The tolerance of a segmentation's surface Dice becomes
    `nsd_tolerance` of the results themselves.

    Args:
        results: content of results.json, which is changed.
        predictions: rows of predictions.csv of all cells.
        resamples: draws of people for the intervals.
    """
    names = headlines(results["task"], results["classes"])
    if (tolerance := nsd_tolerance(predictions)) is not None:
        results["nsd_tolerance"] = tolerance
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
    """Compare a probe with a baseline at each label fraction that both have.

    The metrics are means over the seeds that both have, on the same draws of people.

    Args:
        predictions: rows of predictions.csv of the probe.
        baseline: rows of predictions.csv of the baseline.
        task: kind of task.
        resamples: draws of people for the intervals.

    Returns:
        Per label fraction a dictionary of the main metric of the task, for a segmentation followed by those
        of its other metrics: `fraction`, `metric`, `value`, `low`, `high`, `sd`, `p` (probe minus baseline)
        and `beaten`: whether the whole interval is on the better side; None where there is no interval.
    """
    lines = []
    for fraction in predictions["fraction"].unique():
        probe_tests, baseline_tests = (_tests_by_seed(table, fraction) for table in (predictions, baseline))
        seeds = [seed for seed in probe_tests if seed in baseline_tests]
        if not seeds:
            continue
        compared = compare_estimates(
            [probe_tests[seed] for seed in seeds], [baseline_tests[seed] for seed in seeds], resamples
        )
        for metric in compared_metrics(task, probe_tests[seeds[0]]):
            # Not every version measured all metrics of a mask.
            if metric not in compared:
                continue
            numbers = compared[metric]
            low, high = numbers["low"], numbers["high"]
            beaten = None
            if low is not None and high is not None:
                beaten = high < 0 if is_error(metric) else low > 0
            lines.append({"fraction": float(fraction), "metric": metric, **numbers, "beaten": beaten})
    return lines


def compared_metrics(task: str, table: pd.DataFrame) -> tuple[str, ...]:
    """Return the metrics in which a probe is compared with its baselines, the main one first.

    Args:
        task: kind of task.
        table: rows of predictions.csv.
    """
    if task != "segmentation":
        return HEADLINES[task][:1]
    regions = regions_of(table)
    by_region = [f"{name}_{region}" for name in BY_REGION for region in regions if len(regions) > 1]
    return tuple(dict.fromkeys([*headlines(task, regions), *COMPARED_TOO[task], *by_region]))


def is_error(metric: str) -> bool:
    """Return whether lower values of a metric are better.

    Args:
        metric: its name, of a segmentation perhaps with a region: `hd95_lesion`.
    """
    return metric in LOWER_IS_BETTER or metric.startswith(tuple(f"{name}_" for name in LOWER_IS_BETTER))


def _tests_by_seed(table: pd.DataFrame, fraction: float) -> dict[Any, pd.DataFrame]:
    """Return the test rows at a label fraction, one table per seed."""
    test = table[(table["fraction"] == fraction) & (table["split"] == "test")]
    return dict(iter(test.groupby("seed", sort=False)))


def metrics_table(results: dict[str, Any]) -> pd.DataFrame:
    """Return the rows of metrics.csv: one per model, fraction, seed, fold if any, and metric.

    Args:
        results: content of results.json.

    Returns:
        Columns `model`, `fraction`, `seed` ("mean" for the mean over seeds), `fold`, `metric`, `value`,
        `low`, `high` and `sd`. The model "probe less NAME" is the difference to a baseline; only its rows
        have a `p`.
    """
    rows = []
    for model, part in probe_and_baselines(results).items():
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
    for model, part in results["baselines"].items():
        for line in part["advantage"]:
            row = {"model": difference_name(model), "fraction": line["fraction"], "seed": "mean"}
            numbers = {key: line[key] for key in ("value", "low", "high", "sd", "p")}
            rows.append({**row, "metric": f"test/{line['metric']}", **numbers})
    return pd.DataFrame(rows)


def difference_name(baseline: str) -> str:
    """Return the name of the difference of a probe to a baseline, in tables.

    Args:
        baseline: name of the baseline.
    """
    return f"probe less {baseline}"


def line_at(part: dict[str, Any], fraction: float) -> dict[str, Any] | None:
    """Return the line of the summary at a label fraction; None if no cell of it is finished.

    Args:
        part: results of a study or of a baseline.
        fraction: the label fraction.
    """
    return next((line for line in part["summary"] if line["fraction"] == fraction), None)


def probe_and_baselines(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the probe and its baselines by name, each with `cells` and `summary`.

    Args:
        results: content of results.json.
    """
    return {"probe": results, **results["baselines"]}
