"""Compare models over tasks: all differences in one table, with p values adjusted by Holm."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from braindino.analysis.comparison.differences import ALL_CASES, MAIN_TESTS, Row, compare_pairings
from braindino.analysis.comparison.paired_tests import holm
from braindino.analysis.comparison.pairing import Pairing, list_values, pair_predictions, tolerances_differ
from braindino.analysis.mapping import Mapper, serial_map
from braindino.analysis.metrics.estimates import RESAMPLES
from braindino.analysis.predictions import task_of
from braindino.errors import NothingSharedError

COLUMNS = (
    *("task", "fraction", "stratum", "first", "second", "metric", "cases", "people", "seeds"),
    *("value_first", "value_second", "difference", "low", "high", "sd"),
    *("test", "statistic", "p", "p_holm", "family"),
)

# Name of a model -> task -> its predictions.
ModelPredictions = Mapping[str, Mapping[str, pd.DataFrame]]


class _Comparison(NamedTuple):
    """Two models on one task at one label fraction.

    Attributes:
        names: the columns `task`, `first`, `second` and `kind` of the result.
        pairing: the predictions of both.
        resamples: draws of people for the intervals.
        seed: seed of the draws and of the permutations.
    """

    names: Row
    pairing: Pairing
    resamples: int
    seed: int


def compare_models(
    predictions: ModelPredictions,
    all_pairs: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    mapper: Mapper = serial_map,
    stand_ins: bool = False,
) -> tuple[pd.DataFrame, list[str]]:
    """Compare every model with the first one, or all pairs, on every task that both have.

    Args:
        predictions: name of the model -> task -> rows of predictions.csv.
        all_pairs: compare all pairs instead of every model with the first one.
        resamples: draws of people for the intervals.
        seed: seed of the draws and of the permutations.
        mapper: applies the comparison to each pair, task and label fraction, as `parallel_map` does in
            several processes. The table does not depend on it.
        stand_ins: a model that shares no label fraction, seed or test case of a task with the first one is
            compared with the first of the models before it with which it does.

    Returns:
        A table with `COLUMNS`, and sentences about what was excluded. The table is empty if no two models
        that share a task share a label fraction, seed and test case of it.

    Raises:
        ValueError: no two models have a task in common, or two contradict each other; names both.
    """
    names = list(predictions)
    comparisons: list[_Comparison] = []
    notes: list[str] = []
    unpaired = False
    for first, second in _pairs(names, all_pairs):
        between = names[1 : names.index(second)] if stand_ins and not all_pairs else []
        for task in predictions[first]:
            if task not in predictions[second]:
                notes.append(f"{task}: {second} has no run of this task.")
                continue
            partner, pairings, reason = _find_partner(predictions, task, [first, *between], second)
            if reason:
                unpaired = True
                note = f"{task}: {first} and {second} are not compared, {reason}"
                notes.append(f"{note}; {second} is compared with {partner}." if pairings else f"{note}.")
            if not pairings:
                continue
            tables = predictions[partner][task], predictions[second][task]
            notes += _exclusions(task, partner, second, pairings, *tables)
            row = {"task": task, "first": partner, "second": second, "kind": task_of(tables[0])}
            comparisons += [_Comparison(row, pairing, resamples, seed) for pairing in pairings]
    if not comparisons and not unpaired:
        raise ValueError(f"{' and '.join(names)} have no task in common")
    if not comparisons:
        return pd.DataFrame(columns=list(COLUMNS)), notes
    rows: list[Row] = [row for part in mapper(_compare, comparisons, "compare") for row in part]
    return adjust_p_values(pd.DataFrame(rows)), notes


def _pairs(names: Sequence[str], all_pairs: bool) -> list[tuple[str, str]]:
    if all_pairs:
        return [(first, second) for i, first in enumerate(names) for second in names[i + 1 :]]
    return [(names[0], second) for second in names[1:]]


def _find_partner(
    predictions: ModelPredictions, task: str, candidates: Sequence[str], second: str
) -> tuple[str, list[Pairing], str]:
    """Return the first candidate that shares cases with `second`, and the paired predictions.

    The third value is the reason why the first candidate shares none, or empty. If no candidate does, the
    list of pairings is empty.
    """
    reason = ""
    for name in candidates:
        if task not in predictions[name]:
            continue
        try:
            return name, pair_predictions(predictions[name][task], predictions[second][task]), reason
        except NothingSharedError as error:
            reason = reason or str(error)
        except ValueError as error:
            raise ValueError(f"{task}, {name} and {second}: {error}") from error
    return candidates[0], [], reason


def _compare(comparison: _Comparison) -> list[Row]:
    names = comparison.names
    try:
        rows = compare_pairings([comparison.pairing], comparison.resamples, comparison.seed)
    except ValueError as error:
        raise ValueError(f"{names['task']}, {names['first']} and {names['second']}: {error}") from error
    return [{**names, **row} for row in rows]


def _exclusions(
    task: str, first: str, second: str, pairings: Sequence[Pairing], *tables: pd.DataFrame
) -> Iterator[str]:
    """Yield sentences about the cases, seeds and fractions that only one of two models has."""
    pairing = pairings[0]
    shared = pairing.first[0]["case"].nunique()
    if pairing.only_first or pairing.only_second:
        yield (
            f"{task}: compared on the {shared} test cases of both; excluded: "
            f"{pairing.only_first} of {first}, {pairing.only_second} of {second}, whose splits differ."
        )
    if tolerances_differ(*tables):
        yield f"{task}: nsd of {first} and {second} is not compared, it has different tolerances."
    fractions = {each.fraction for each in pairings}
    compared: dict[str, set[Any]] = {"seed": set(pairing.seeds), "fraction": fractions}
    for column, values in compared.items():
        excluded = set(tables[0][column]) ^ set(tables[1][column])
        if excluded:
            yield (
                f"{task}: {first} and {second} share {column} {list_values(values)}; "
                f"excluded: {list_values(excluded)}."
            )


def adjust_p_values(table: pd.DataFrame) -> pd.DataFrame:
    """Add `family` and `p_holm`: Holm's adjustment over all p values of one family in the table.

    The main tests of all tasks (`MAIN_TESTS`) are one family, over tasks, label fractions and pairs of
    models; the main tests by age band are another; every further metric and test is its own.

    Args:
        table: rows of `compare_pairings`, with `kind`, the kind of task.
    """
    main = [
        MAIN_TESTS[kind] == (metric, test)
        for kind, metric, test in table[["kind", "metric", "test"]].to_numpy()
    ]
    is_all = table["stratum"] == ALL_CASES
    further = table["metric"] + " " + table["test"]
    family = further.where(~np.array(main), np.where(is_all, "main test", "main test by age"))
    adjusted = table["p"].astype(float).groupby(family).transform(holm)
    return table.assign(family=family, p_holm=adjusted)[list(COLUMNS)]
