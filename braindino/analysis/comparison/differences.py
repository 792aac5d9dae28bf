"""Compute the differences of two models on the same test cases, with intervals and tests."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from braindino.analysis.comparison.delong import delong
from braindino.analysis.comparison.paired_tests import mcnemar, permutation, wilcoxon
from braindino.analysis.comparison.pairing import Pairing, row_keys
from braindino.analysis.metrics.estimates import compare_estimates, estimate
from braindino.analysis.metrics.headlines import COMPARED_TOO, headlines
from braindino.analysis.metrics.segmentation import REGION, measures_of, regions_of
from braindino.analysis.metrics.subgroups import MIN_PEOPLE, UNKNOWN, group_labels
from braindino.analysis.metrics.weighting import Floats
from braindino.analysis.predictions import class_names, probability_columns, task_of

ALL_CASES = "all"  # the stratum of all cases
MAIN_TESTS = {
    "classification": ("auroc", "DeLong"),
    "regression": ("mae", "Wilcoxon"),
    "survival": ("c_index", "bootstrap"),
    "segmentation": ("dice", "Wilcoxon"),
}

Row = dict[str, Any]
Test = tuple[str, float | None, float | None]  # name, statistic, p value


def compare_pairings(pairings: Sequence[Pairing], resamples: int, seed: int = 0) -> list[Row]:
    """Compare two models at every label fraction: all cases, and the main metric by age band.

    Differences are `first - second`, of the mean over seeds, with an interval from resampling people. The
    tests of DeLong and Wilcoxon and the permutation are about that mean as well; McNemar's test, which needs
    one prediction per case, uses the class with the highest mean probability over seeds.

    Args:
        pairings: the predictions of both models, one per label fraction.
        resamples: draws of people for the intervals.
        seed: seed of the draws and of the permutations.

    Returns:
        A row per metric and test: `fraction`, `stratum` ("all" or "age 60-69"), `metric`, `cases`, `people`,
        `seeds`, `value_first`, `value_second`, `difference`, `low`, `high`, `sd` (over seeds), `test`,
        `statistic` and `p`.
    """
    rows: list[Row] = []
    for pairing in pairings:
        rows += _rows(pairing, ALL_CASES, resamples, seed)
        table = pairing.first[0]
        if "age" not in table:
            continue
        bands = pd.Series(group_labels(table["age"], "age"))
        for band in sorted(set(bands) - {UNKNOWN}, key=lambda name: int(name.split("-")[0])):
            part = pairing.part(bands == band)
            if part.first[0]["group"].nunique() >= MIN_PEOPLE:
                rows += _rows(part, f"age {band}", resamples, seed)
    return rows


def _rows(pairing: Pairing, stratum: str, resamples: int, seed: int) -> Iterator[Row]:
    """Yield a row per metric and test of one stratum; age bands have the main test only."""
    table = pairing.first[0]
    kind = task_of(table)
    compared = compare_estimates(pairing.first, pairing.second, resamples, seed)
    first, second = (estimate(tables, resamples=0)["metrics"] for tables in (pairing.first, pairing.second))
    for metric in _metrics(table, kind, stratum):
        # Survival metrics that need the training cases, and lesions that were not counted, are absent.
        if metric not in compared:
            continue
        numbers = compared[metric]
        # No case is without the region, or no lesion is matched.
        if metric in COMPARED_TOO.get(kind, ()) and numbers["value"] is None:
            continue
        row = {
            "fraction": pairing.fraction,
            "stratum": stratum,
            "metric": metric,
            "cases": table["case"].nunique(),
            "people": table["group"].nunique(),
            "seeds": len(pairing.seeds),
            "value_first": first[metric]["value"],
            "value_second": second[metric]["value"],
            "difference": numbers["value"],
            **{name: numbers[name] for name in ("low", "high", "sd")},
        }
        tests = _tests(pairing, metric, seed) or [("bootstrap", None, numbers["p"])]
        for test, statistic, p in tests:
            if stratum == ALL_CASES or (metric, test) == MAIN_TESTS[kind]:
                yield {**row, "test": test, "statistic": statistic, "p": p}


def _metrics(table: pd.DataFrame, kind: str, stratum: str) -> tuple[str, ...]:
    """Return the metrics to compare: all headlines, or the main metric of an age band."""
    if stratum != ALL_CASES:
        return (MAIN_TESTS[kind][0],)
    names = headlines(kind, regions_of(table) if kind == "segmentation" else ())
    return names + COMPARED_TOO.get(kind, ())


def _tests(pairing: Pairing, metric: str, seed: int) -> list[Test]:
    """Return the tests that apply to a metric; none if only the bootstrap does."""
    if metric == "auroc":
        return [_delong_test(pairing)]
    people = pairing.first[0]["group"].to_numpy()
    if metric == "accuracy":
        only_first, only_second, p = mcnemar(_ensemble_right(pairing.first), _ensemble_right(pairing.second))
        difference = _share_right(pairing.first) - _share_right(pairing.second)
        return [
            ("McNemar", float(only_first - only_second), p),
            ("permutation", *permutation(difference, people, seed)),
        ]
    by_case = _case_differences(pairing, metric)
    if by_case is None:
        return []
    difference, people = by_case
    if not len(difference):
        return [("Wilcoxon", None, None)]
    return [
        ("Wilcoxon", *wilcoxon(difference, people)),
        ("permutation", *permutation(difference, people, seed)),
    ]


def _delong_test(pairing: Pairing) -> Test:
    table = pairing.first[0]
    names = class_names(table)
    target = pd.Index(names).get_indexer(pd.Index(table["target"].astype(str)))
    if len(set(target)) < 2:
        return ("DeLong", None, None)
    people = table["group"].to_numpy()
    result = delong(target, _probabilities(pairing.first), _probabilities(pairing.second), people)
    return ("DeLong", _none_if_nan(result.z), _none_if_nan(result.p))


def _case_differences(pairing: Pairing, metric: str) -> tuple[Floats, NDArray[Any]] | None:
    """Return the differences (N,) of a metric by case, and the person of each case.

    None for metrics that are no mean over cases.
    """
    models = (pairing.first, pairing.second)
    if metric == "mae":
        first_error, second_error = (_mean_error(tables) for tables in models)
        return first_error - second_error, pairing.first[0]["group"].to_numpy()
    if REGION not in pairing.first[0]:
        return None
    measures = measures_of(pairing.first[0])
    measure = next(name for name in measures if metric == name or metric.startswith(f"{name}_"))
    region = metric.removeprefix(measure).removeprefix("_")
    first, second = (_mean_measure(tables, measure, region) for tables in models)
    difference = (first - second).dropna().groupby(level=["case", "group"]).mean()
    values: Floats = np.asarray(difference, dtype=np.float64)
    return values, np.asarray(difference.index.get_level_values("group"))


def _mean_error(tables: Sequence[pd.DataFrame]) -> Floats:
    """Return the mean over seeds of the absolute error of each case."""
    errors = np.stack([(table["prediction"] - table["target"]).abs().to_numpy() for table in tables])
    mean: Floats = errors.mean(axis=0)
    return mean


def _mean_measure(tables: Sequence[pd.DataFrame], measure: str, region: str) -> "pd.Series[float]":
    """Return the mean over seeds of a measure, by case and region; of one region if it is named."""
    columns = []
    for table in tables:
        rows = table[table[REGION] == region] if region else table
        index = pd.MultiIndex.from_frame(rows[[*row_keys(rows), "group"]])
        columns.append(pd.Series(measures_of(rows)[measure], index))
    mean: pd.Series[float] = pd.concat(columns, axis=1).mean(axis=1, skipna=False)
    return mean


def _probabilities(tables: Sequence[pd.DataFrame]) -> Floats:
    """Return probabilities (seeds, cases, classes)."""
    return np.stack([table[probability_columns(table)].to_numpy(dtype=np.float64) for table in tables])


def _ensemble_right(tables: Sequence[pd.DataFrame]) -> NDArray[np.bool_]:
    """Return whether each case's class with the highest mean probability is right."""
    if len(tables) == 1:
        return (tables[0]["prediction"] == tables[0]["target"]).to_numpy()
    names = np.array(class_names(tables[0]))
    right: NDArray[np.bool_] = (
        names[_probabilities(tables).mean(axis=0).argmax(axis=1)] == tables[0]["target"].to_numpy()
    )
    return right


def _share_right(tables: Sequence[pd.DataFrame]) -> Floats:
    """Return the share of the seeds that classify each case correctly."""
    right = np.stack([(table["prediction"] == table["target"]).to_numpy() for table in tables])
    share: Floats = right.mean(axis=0)
    return share


def _none_if_nan(value: float) -> float | None:
    return value if np.isfinite(value) else None
