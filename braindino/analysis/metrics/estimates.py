"""Estimate metrics and their differences, with intervals from resampling people."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from braindino.analysis.metrics.bootstrap import resample_people
from braindino.analysis.metrics.intervals import bca_interval, level_at_zero
from braindino.analysis.metrics.task_metrics import class_indices, task_metrics
from braindino.analysis.metrics.undefined import undefined_reasons
from braindino.analysis.metrics.weighting import Floats
from braindino.analysis.predictions import class_names, task_of

RESAMPLES = 1000
CONFIDENCE = 0.95
# Share of all draws. More than this are drawn again only if one or two people have all cases of a class; the
# other draws are then too few kinds to estimate an interval.
MAX_REDRAWN = 0.1
# Groups of people that are excluded together; one person each if there are fewer.
MAX_JACKKNIFE_GROUPS = 200
BLOCK = 4_000_000  # entries of the weights that are used at a time: 32 MB


def estimate(
    tables: Sequence[pd.DataFrame],
    resamples: int = RESAMPLES,
    seed: int = 0,
    train: Sequence[pd.DataFrame | None] | None = None,
) -> dict[str, Any]:
    """Estimate metrics of one table, or their mean over several (one per seed), with intervals.

    People are drawn, not cases: all cases of a person are drawn together. All tables are evaluated on the
    same draws, so that the interval of their mean is about people, and `sd` about seeds.

    Args:
        tables: rows of predictions.csv of the same task, one table per seed.
        resamples: number of draws; 0 for no intervals.
        seed: seed of the draws; the same seed gives the same interval.
        train: rows of each table's training cases, which are not resampled; see `task_metrics`.

    Returns:
        `cases`, `people`, `resamples`, `redrawn` (draws that lacked a class), `metrics`: name -> {`value`,
        `low`, `high`, `sd`}, and `undefined`: name -> the reason, of every metric without a value. Intervals
        are those of `bca_interval` at 95 %. A number is None where it is undefined: `sd` of a single table,
        the metric of a constant, an interval if less than half of the resamples are defined, and every
        interval if more than a tenth of all draws lacked a class, as it would be too narrow.
    """
    evaluated = _evaluate(tables, resamples, seed, train)
    undefined = [name for name, value in evaluated.point.items() if not np.isfinite(value.mean())]
    return {
        "cases": len(np.unique(np.concatenate([table["case"].astype(str) for table in tables]))),
        "people": evaluated.people,
        "resamples": resamples,
        "redrawn": evaluated.redrawn,
        "metrics": {
            name: _numbers(
                value, evaluated.draws[name], evaluated.left_out[name], resamples, evaluated.people
            )
            for name, value in evaluated.point.items()
        },
        "undefined": undefined_reasons(undefined, tables, [None] * len(tables) if train is None else train),
    }


def compare_estimates(
    first: Sequence[pd.DataFrame],
    second: Sequence[pd.DataFrame],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, float | None]]:
    """Estimate the difference `first - second` of each metric of two models on the same cases.

    Both are evaluated on the same draws of people, so that variation which they share does not widen the
    interval.

    Args:
        first: rows of predictions.csv of the first model, one table per seed.
        second: the same of the second model, in the same order of seeds.
        resamples: number of draws; 0 for no intervals.
        seed: seed of the draws.

    Returns:
        name of the metric (those of `estimate` that both have; of survival `c_index` only) -> `value`, `low`,
        `high`, `sd` of the difference, as in `estimate`, where `sd` is over seeds; and `p`, two-sided, the
        level at which an end of the interval is 0 (`level_at_zero`).

    Raises:
        ValueError: the cases differ.
    """
    for left, right in zip(first, second, strict=True):
        if set(left["case"]) != set(right["case"]):
            raise ValueError("two models can be compared on the same cases only")
    one, two = _evaluate(first, resamples, seed), _evaluate(second, resamples, seed)
    differences = {}
    for name in one.point:
        if name not in two.point:
            # Lesions were counted for one model only.
            continue
        point = one.point[name] - two.point[name]
        draws = one.draws[name] - two.draws[name]
        left_out = one.left_out[name] - two.left_out[name]
        numbers = _numbers(point, draws, left_out, resamples, one.people)
        p = None
        if numbers["low"] is not None:
            p = level_at_zero(float(point.mean()), _finite(draws), _finite(left_out), one.people)
        differences[name] = {**numbers, "p": p}
    return differences


class _Evaluation(NamedTuple):
    """Metrics of several tables, by name.

    Attributes:
        point: (S,) the metric of each table.
        draws: (R,) mean over tables in each resample.
        left_out: (G,) mean over tables without each group of people.
        redrawn: number of draws that lacked a class.
        people: number of people.
    """

    point: dict[str, Floats]
    draws: dict[str, Floats]
    left_out: dict[str, Floats]
    redrawn: int
    people: int


def _evaluate(
    tables: Sequence[pd.DataFrame],
    resamples: int,
    seed: int,
    train: Sequence[pd.DataFrame | None] | None = None,
) -> _Evaluation:
    """Compute metrics of all tables and of resamples, which are NaN if classes are too rare."""
    groups = np.concatenate([table["group"].astype(str) for table in tables])
    people, codes = np.unique(groups, return_inverse=True)
    owners = np.split(codes, np.cumsum([len(table) for table in tables])[:-1])
    trains = [None] * len(tables) if train is None else train
    values = [task_metrics(table, train=rows) for table, rows in zip(tables, trains, strict=True)]
    point = {name: np.array([float(metrics[name][0]) for metrics in values]) for name in values[0]}
    if not resamples:
        empty = {name: np.empty(0) for name in point}
        return _Evaluation(point, empty, empty, 0, len(people))
    drawn = resample_people(len(people), resamples, seed, _carriers(tables, owners, len(people)))
    draws = _weighted_means(tables, owners, drawn.weights, trains)
    if drawn.redrawn > MAX_REDRAWN * (resamples + drawn.redrawn):
        draws = {name: np.full_like(each, np.nan) for name, each in draws.items()}
    member = np.arange(len(people)) % min(len(people), MAX_JACKKNIFE_GROUPS)
    without = (np.unique(member)[:, None] != member).astype(np.uint16)
    left_out = _weighted_means(tables, owners, without, trains)
    return _Evaluation(point, draws, left_out, drawn.redrawn, len(people))


def _weighted_means(
    tables: Sequence[pd.DataFrame],
    owners: Sequence[NDArray[np.int64]],
    weights: NDArray[np.uint16],
    trains: Sequence[pd.DataFrame | None],
) -> dict[str, Floats]:
    """Return the mean over tables of each metric, for each weighting of people.

    Args:
        tables: rows of predictions.csv, one table per seed.
        owners: index of the person of each row, one array per table.
        weights: (R, people).
        trains: rows of each table's training cases.
    """
    rows = max(1, BLOCK // max(len(owner) for owner in owners))
    blocks = []
    for start in range(0, len(weights), rows):
        block = weights[start : start + rows].astype(np.float64)
        values = [
            task_metrics(table, block[:, owner], train)
            for table, owner, train in zip(tables, owners, trains, strict=True)
        ]
        blocks.append({name: np.mean([each[name] for each in values], axis=0) for name in values[0]})
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _numbers(
    point: Floats, draws: Floats, left_out: Floats, resamples: int, people: int
) -> dict[str, float | None]:
    """Return value, interval and deviation of a metric; None for numbers that are undefined."""
    defined = _finite(draws)
    low = high = float("nan")
    if resamples and 2 * len(defined) >= resamples:
        low, high = bca_interval(float(point.mean()), defined, _finite(left_out), people, CONFIDENCE)
    sd = float(np.std(point, ddof=1)) if len(point) > 1 else float("nan")
    numbers = {"value": float(point.mean()), "low": float(low), "high": float(high), "sd": sd}
    return {name: number if np.isfinite(number) else None for name, number in numbers.items()}


def _finite(values: Floats) -> Floats:
    return values[np.isfinite(values)]


def _carriers(
    tables: Sequence[pd.DataFrame], owners: Sequence[NDArray[np.int64]], people: int
) -> NDArray[np.bool_] | None:
    """Return (people, classes of all tables) whether a person has a class, or an event.

    None for tasks without classes and events.
    """
    columns = []
    for table, owner in zip(tables, owners, strict=True):
        names = class_names(table)
        if task_of(table) == "survival":
            carries = np.zeros((people, 1), dtype=bool)
            carries[owner[table["event"].to_numpy() == 1]] = True
        elif names:
            carries = np.zeros((people, len(names)), dtype=bool)
            carries[owner, class_indices(table["target"], names)] = True
        else:
            return None
        columns.append(carries)
    return np.concatenate(columns, axis=1)
