"""Estimates with confidence intervals from predictions, by resampling people."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from braindino.analysis.metrics.classification import (
    Floats,
    classification_metrics,
    confusion_matrix,
    regression_metrics,
)
from braindino.analysis.metrics.intervals import interval, level_at_zero
from braindino.analysis.metrics.segmentation import segmentation_metrics
from braindino.analysis.metrics.survival import survival_metrics
from braindino.analysis.metrics.undefined import reasons
from braindino.analysis.predictions import class_names, probability_columns, task_of

RESAMPLES = 1000
CONFIDENCE = 0.95
MOST_REDRAWS = 50  # rounds; a class that one person of many carries is in 63 % of the resamples
MOST_REDRAWN = (
    0.1  # of all draws; above it, a class has one or two carriers and the rest says little of chance
)
MOST_LEFT_OUT = 200  # groups of people; each alone where there are no more
BLOCK = 4_000_000  # entries of the weights that are worked on at a time: 32 MB


class Resamples(NamedTuple):
    """`weights`: (R, people) how often each person was drawn; `redrawn`: how many draws lacked a class."""

    weights: NDArray[np.uint16]
    redrawn: int


def resample_people(
    people: int, resamples: int, seed: int, carries: NDArray[np.bool_] | None = None
) -> Resamples:
    """Draw `people` people with replacement, `resamples` times.

    A draw in which nobody carries one of the classes has no AUROC. It is thrown away and drawn again, and
    counted; so the interval is conditional on every class being present, as it is in the sample itself.

    Args:
        carries: (people, classes), who has a case of which class; classes that nobody has are ignored.

    Returns:
        Fewer than `resamples` rows only where 50 rounds of drawing did not suffice.
    """
    rng = np.random.default_rng(seed)
    kept: list[NDArray[np.uint16]] = []
    found = redrawn = 0
    needed = None if carries is None else carries[:, carries.any(axis=0)].astype(np.float64)
    for _ in range(MOST_REDRAWS):
        drawn = rng.multinomial(people, np.full(people, 1 / people), size=resamples - found).astype(np.uint16)
        if needed is not None:
            drawn = drawn[((drawn @ needed) > 0).all(axis=1)]
        redrawn += resamples - found - len(drawn)
        found += len(drawn)
        kept.append(drawn)
        if found == resamples:
            break
    return Resamples(np.concatenate(kept), redrawn)


def metrics_of(
    table: pd.DataFrame, weights: Floats | None = None, train: pd.DataFrame | None = None
) -> dict[str, Floats]:
    """Every metric of the task that `table` (rows of predictions.csv) belongs to: name -> (R,).

    Args:
        train: rows of the training cases; survival has its `c_index` only without them.
    """
    names = class_names(table)
    if task_of(table) == "survival":
        return survival_metrics(table, train, weights)
    if task_of(table) == "segmentation":
        return segmentation_metrics(table, weights)
    if not names:
        return regression_metrics(table["target"].astype(float), table["prediction"].astype(float), weights)
    target, prediction = (_indices(table[column], names) for column in ("target", "prediction"))
    probabilities = table[probability_columns(table)].to_numpy(dtype=np.float64)
    return classification_metrics(target, probabilities, names, prediction, weights)


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
        "undefined": reasons(undefined, tables, [None] * len(tables) if train is None else train),
    }


def compare(
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


def confusion_of(table: pd.DataFrame) -> list[list[int]]:
    """Counts of a classification: true class in rows, predicted class in columns."""
    names = class_names(table)
    target, prediction = (_indices(table[column], names) for column in ("target", "prediction"))
    counts = confusion_matrix(target, prediction, len(names))[0]
    return [[int(value) for value in row] for row in counts]


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
    values = [metrics_of(table, train=rows) for table, rows in zip(tables, known, strict=True)]
    point = {name: np.array([float(each[name][0]) for each in values]) for name in values[0]}
    if not resamples:
        nothing = {name: np.empty(0) for name in point}
        return _Evaluated(point, nothing, nothing, 0, len(people))
    drawn = resample_people(len(people), resamples, seed, _carriers(tables, owners, len(people)))
    spread = _resampled(tables, owners, drawn.weights, known)
    member = np.arange(len(people)) % min(len(people), MOST_LEFT_OUT)
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
            metrics_of(table, block[:, owner], rows)
            for table, owner, rows in zip(tables, owners, train, strict=True)
        ]
        blocks.append({name: np.mean([one[name] for one in each], axis=0) for name in each[0]})
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _if_enough_carry_each_class(spread: dict[str, Floats], resamples: int, redrawn: int) -> dict[str, Floats]:
    """The resampled metrics, undefined where too many draws were thrown away to trust the rest."""
    if redrawn <= MOST_REDRAWN * (resamples + redrawn):
        return spread
    return {name: np.full_like(values, np.nan) for name, values in spread.items()}


def _summary(
    point: Floats, spread: Floats, left_out: Floats, resamples: int, people: int
) -> dict[str, float | None]:
    defined = _finite(spread)
    low = high = float("nan")
    if resamples and 2 * len(defined) >= resamples:
        low, high = interval(float(point.mean()), defined, _finite(left_out), people, CONFIDENCE)
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
        carries[owner, _indices(table["target"], names)] = True
        columns.append(carries)
    return np.concatenate(columns, axis=1)


def _indices(column: "pd.Series[Any]", names: Sequence[str]) -> NDArray[np.int64]:
    return pd.Index(names).get_indexer(pd.Index(column.astype(str))).astype(np.int64)
