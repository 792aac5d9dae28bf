"""Estimates with confidence intervals from predictions, by resampling people."""

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
MAX_REDRAWN = (
    0.1  # of all draws; above it, a class has one or two carriers and the rest says little of chance
)
MAX_JACKKNIFE_GROUPS = 200  # groups of people; each alone where there are no more
BLOCK = 4_000_000  # entries of the weights that are worked on at a time: 32 MB


def estimate(
    tables: Sequence[pd.DataFrame],
    resamples: int = RESAMPLES,
    seed: int = 0,
    train: Sequence[pd.DataFrame | None] | None = None,
) -> dict[str, Any]:
    """Metrics of one table, or their mean over several (one per seed), with an interval over people.

    People, not cases, are drawn: all cases of a person come or stay away together. Several tables are
    evaluated on the same draws, so that the interval of their mean is about people, and `sd` about seeds.

    Args:
        tables: rows of predictions.csv of the same task, one table per seed.
        resamples: number of draws; 0 for no intervals.
        seed: of the draws; the same seed gives the same interval.
        train: rows of each table's training cases, which are not resampled; see `metrics_of`.

    Returns:
        `cases`, `people`, `resamples`, `redrawn` (draws that lacked a class), `metrics`: name -> {`value`,
        `low`, `high`, `sd`}, and `undefined`: name -> the reason, of every metric without a value. The
        interval is that of `intervals.interval` at 95 %. A number is None where it is undefined: `sd` of a
        single table, the metric of a constant, an interval of which less than half of the resamples are
        defined, and every interval when more than a tenth of all draws lacked a class (which one or two
        people carry): what is left would be too narrow.
    """
    found = _evaluate(tables, resamples, seed, train)
    undefined = [name for name, value in found.point.items() if not np.isfinite(value.mean())]
    return {
        "cases": len(np.unique(np.concatenate([table["case"].astype(str) for table in tables]))),
        "people": found.people,
        "resamples": resamples,
        "redrawn": found.redrawn,
        "metrics": {
            name: _summary(value, found.spread[name], found.left_out[name], resamples, found.people)
            for name, value in found.point.items()
        },
        "undefined": undefined_reasons(undefined, tables, [None] * len(tables) if train is None else train),
    }


def compare_estimates(
    tables: Sequence[pd.DataFrame],
    others: Sequence[pd.DataFrame],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, dict[str, float | None]]:
    """How much higher each metric is in `tables` than in `others`, two models on the same cases.

    Both are evaluated on the same draws of people, so what makes a draw easy for both does not widen the
    interval.

    Args:
        tables, others: rows of predictions.csv, one table per seed, in the same order of seeds.

    Returns:
        name of the metric (those of `estimate` that both have; of survival `c_index` only) -> `value`, `low`,
        `high`, `sd` of the difference, as in `estimate`, where `sd` is over seeds; and `p`, two-sided, the
        level at which the interval just touches 0 (`intervals.level_at_zero`).

    Raises:
        ValueError: the cases differ.
    """
    for mine, other in zip(tables, others, strict=True):
        if set(mine["case"]) != set(other["case"]):
            raise ValueError("two models can be compared on the same cases only")
    ours, theirs = _evaluate(tables, resamples, seed), _evaluate(others, resamples, seed)
    compared = {}
    for name in ours.point:
        if name not in theirs.point:
            continue  # of one only the lesions were counted
        point = ours.point[name] - theirs.point[name]
        draws = ours.spread[name] - theirs.spread[name]
        left_out = ours.left_out[name] - theirs.left_out[name]
        numbers = _summary(point, draws, left_out, resamples, ours.people)
        p = None
        if numbers["low"] is not None:
            p = level_at_zero(float(point.mean()), _finite(draws), _finite(left_out), ours.people)
        compared[name] = {**numbers, "p": p}
    return compared


class _Evaluated(NamedTuple):
    """Per metric: of each table (S,), their mean in each resample (R,), and with somebody left out (G,)."""

    point: dict[str, Floats]
    spread: dict[str, Floats]
    left_out: dict[str, Floats]
    redrawn: int
    people: int


def _evaluate(
    tables: Sequence[pd.DataFrame],
    resamples: int,
    seed: int,
    train: Sequence[pd.DataFrame | None] | None = None,
) -> _Evaluated:
    """Metrics of all tables as they are and on resamples, the latter undefined where classes are too rare."""
    groups = np.concatenate([table["group"].astype(str) for table in tables])
    people, codes = np.unique(groups, return_inverse=True)
    owners = np.split(codes, np.cumsum([len(table) for table in tables])[:-1])
    known = [None] * len(tables) if train is None else train
    values = [task_metrics(table, train=rows) for table, rows in zip(tables, known, strict=True)]
    point = {name: np.array([float(each[name][0]) for each in values]) for name in values[0]}
    if not resamples:
        nothing = {name: np.empty(0) for name in point}
        return _Evaluated(point, nothing, nothing, 0, len(people))
    drawn = resample_people(len(people), resamples, seed, _carriers(tables, owners, len(people)))
    spread = _resampled(tables, owners, drawn.weights, known)
    member = np.arange(len(people)) % min(len(people), MAX_JACKKNIFE_GROUPS)
    without = (np.unique(member)[:, None] != member).astype(np.uint16)
    left_out = _resampled(tables, owners, without, known)
    return _Evaluated(
        point,
        _if_enough_carry_each_class(spread, resamples, drawn.redrawn),
        left_out,
        drawn.redrawn,
        len(people),
    )


def _resampled(
    tables: Sequence[pd.DataFrame],
    owners: Sequence[NDArray[np.int64]],
    weights: NDArray[np.uint16],
    train: Sequence[pd.DataFrame | None],
) -> dict[str, Floats]:
    rows = max(1, BLOCK // max(len(owner) for owner in owners))
    blocks = []
    for start in range(0, len(weights), rows):
        block = weights[start : start + rows].astype(np.float64)
        each = [
            task_metrics(table, block[:, owner], rows)
            for table, owner, rows in zip(tables, owners, train, strict=True)
        ]
        blocks.append({name: np.mean([one[name] for one in each], axis=0) for name in each[0]})
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _if_enough_carry_each_class(spread: dict[str, Floats], resamples: int, redrawn: int) -> dict[str, Floats]:
    """The resampled metrics, undefined where too many draws were thrown away to trust the rest."""
    if redrawn <= MAX_REDRAWN * (resamples + redrawn):
        return spread
    return {name: np.full_like(values, np.nan) for name, values in spread.items()}


def _summary(
    point: Floats, spread: Floats, left_out: Floats, resamples: int, people: int
) -> dict[str, float | None]:
    defined = _finite(spread)
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
    """(people, classes of every table): who has a case of which class, or an event. None: regression."""
    columns = []
    for table, owner in zip(tables, owners, strict=True):
        names = class_names(table)
        if task_of(table) == "survival":
            carries = np.zeros((people, 1), dtype=bool)
            carries[owner[table["event"].to_numpy() == 1]] = True
            columns.append(carries)
            continue
        if not names:
            return None
        carries = np.zeros((people, len(names)), dtype=bool)
        carries[owner, class_indices(table["target"], names)] = True
        columns.append(carries)
    return np.concatenate(columns, axis=1)
