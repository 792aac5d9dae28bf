"""How much two models differ on the same test cases: intervals and tests, of everybody and by age band."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from braindino.analysis.comparison.delong import delong
from braindino.analysis.comparison.paired_tests import mcnemar, permutation, wilcoxon
from braindino.analysis.comparison.pairing import Pairing, row_keys
from braindino.analysis.metrics.estimates import compare_estimates, estimate
from braindino.analysis.metrics.headlines import COMPARED_TOO, headlines
from braindino.analysis.metrics.segmentation import REGION, measures_of, regions_of
from braindino.analysis.metrics.subgroups import MIN_PEOPLE, UNKNOWN, group_labels
from braindino.analysis.metrics.weighting import Floats
from braindino.analysis.predictions import class_names, probability_columns, task_of

EVERYBODY = "all"
MAIN_TESTS = {
    "classification": ("auroc", "DeLong"),
    "regression": ("mae", "Wilcoxon"),
    "survival": ("c_index", "bootstrap"),
    "segmentation": ("dice", "Wilcoxon"),
}

Row = dict[str, Any]


def compare_pairings(pairings: Sequence[Pairing], resamples: int, seed: int = 0) -> list[Row]:
    """All tests of two models, at every label fraction: of everybody, and the main metric by age band.

    Differences are `first - second`, of the mean over seeds, with an interval from resampling people. The
    tests of DeLong and Wilcoxon and the permutation are about that mean over seeds as well; McNemar's, which
    needs one answer for a case, takes the class of the highest mean probability over seeds.

    Returns:
        Dictionaries of `fraction`, `stratum` ("all" or "age 60-69"), `metric`, `cases`, `people`, `seeds`,
        `value_first`, `value_second`, `difference`, `low`, `high`, `sd` (over seeds), `test`, `statistic` and
        `p`; a row per metric and test.
    """
    rows: list[Row] = []
    for pairing in pairings:
        rows += _rows(pairing, EVERYBODY, resamples, seed)
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
    table = pairing.first[0]
    kind = task_of(table)
    compared = compare_estimates(pairing.first, pairing.second, resamples, seed)
    values = [estimate(side, resamples=0)["metrics"] for side in (pairing.first, pairing.second)]
    shown: tuple[str, ...] = headlines(kind, regions_of(table) if kind == "segmentation" else ())
    shown += COMPARED_TOO.get(kind, ())
    if stratum != EVERYBODY:
        shown = (MAIN_TESTS[kind][0],)
    for metric in shown:
        if metric not in compared:
            continue  # of survival, those that need the training cases; of a mask, lesions not counted
        numbers = compared[metric]
        known = {
            "fraction": pairing.fraction,
            "stratum": stratum,
            "metric": metric,
            "cases": table["case"].nunique(),
            "people": table["group"].nunique(),
            "seeds": len(pairing.seeds),
            "value_first": values[0][metric]["value"],
            "value_second": values[1][metric]["value"],
            "difference": numbers["value"],
            **{name: numbers[name] for name in ("low", "high", "sd")},
        }
        tests = _tests(pairing, metric, seed) or [("bootstrap", None, numbers["p"])]
        for test, statistic, p in tests:
            if stratum == EVERYBODY or (metric, test) == MAIN_TESTS[kind]:
                yield {**known, "test": test, "statistic": statistic, "p": p}


def _tests(pairing: Pairing, metric: str, seed: int) -> list[tuple[str, float | None, float | None]]:
    """Name, statistic and p of the tests that fit a metric; none: the bootstrap's."""
    table = pairing.first[0]
    people = table["group"].to_numpy()
    if metric == "auroc":
        names = class_names(table)
        target = pd.Index(names).get_indexer(pd.Index(table["target"].astype(str)))
        if len(set(target)) < 2:
            return [("DeLong", None, None)]
        result = delong(target, _probabilities(pairing.first), _probabilities(pairing.second), people)
        return [("DeLong", _defined(result.z), _defined(result.p))]
    if metric == "accuracy":
        first, second = (_answers(side) for side in (pairing.first, pairing.second))
        gained, lost, p = mcnemar(first, second)
        difference = _right(pairing.first) - _right(pairing.second)
        swapped = permutation(difference, people, seed)
        return [("McNemar", float(gained - lost), p), ("permutation", *swapped)]
    found = _per_case(pairing, metric)
    if found is None:
        return []
    difference, people = found
    if not len(difference):
        return [("Wilcoxon", None, None)]
    return [
        ("Wilcoxon", *wilcoxon(difference, people)),
        ("permutation", *permutation(difference, people, seed)),
    ]


def _per_case(pairing: Pairing, metric: str) -> tuple[Floats, np.ndarray] | None:
    """Differences (N,) of a metric that is a mean over cases, mean over seeds, and whose cases they are."""
    sides = (pairing.first, pairing.second)
    if metric == "mae":
        errors = [
            np.mean([(table["prediction"] - table["target"]).abs().to_numpy() for table in side], axis=0)
            for side in sides
        ]
        return errors[0] - errors[1], pairing.first[0]["group"].to_numpy()
    if REGION not in pairing.first[0]:
        return None
    names = measures_of(pairing.first[0])
    measure = next(name for name in names if metric == name or metric.startswith(f"{name}_"))
    region = metric.removeprefix(measure).removeprefix("_")
    means = []
    for side in sides:
        chosen = [table if not region else table[table[REGION] == region] for table in side]
        values = [
            pd.Series(
                measures_of(table)[measure], pd.MultiIndex.from_frame(table[[*row_keys(table), "group"]])
            )
            for table in chosen
        ]
        means.append(pd.concat(values, axis=1).mean(axis=1, skipna=False))
    difference = (means[0] - means[1]).dropna().groupby(level=["case", "group"]).mean()
    return difference.to_numpy(), difference.index.get_level_values("group").to_numpy()


def _probabilities(tables: Sequence[pd.DataFrame]) -> Floats:
    """(seeds, cases, classes)"""
    return np.stack([table[probability_columns(table)].to_numpy(dtype=np.float64) for table in tables])


def _answers(tables: Sequence[pd.DataFrame]) -> np.ndarray:
    """Whether the class of the highest mean probability over seeds is right, of each case."""
    if len(tables) == 1:
        return (tables[0]["prediction"] == tables[0]["target"]).to_numpy()
    names = np.array(class_names(tables[0]))
    return names[_probabilities(tables).mean(axis=0).argmax(axis=1)] == tables[0]["target"].to_numpy()


def _right(tables: Sequence[pd.DataFrame]) -> Floats:
    """Share of the seeds that have each case right."""
    return np.mean([(table["prediction"] == table["target"]).to_numpy() for table in tables], axis=0)


def _defined(value: float) -> float | None:
    return value if np.isfinite(value) else None
