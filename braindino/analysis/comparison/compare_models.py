"""Models against each other over tasks: every difference in one table, its p values adjusted by Holm."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from braindino.analysis.comparison.differences import EVERYBODY, MAIN_TESTS, Row, compare_pairings
from braindino.analysis.comparison.paired_tests import holm
from braindino.analysis.comparison.pairing import Pairing, list_values, pair_predictions
from braindino.analysis.mapping import Mapper, serial_map
from braindino.analysis.metrics.estimates import RESAMPLES
from braindino.analysis.predictions import task_of
from braindino.errors import NothingSharedError

COLUMNS = (
    *("task", "fraction", "stratum", "first", "second", "metric", "cases", "people", "seeds"),
    *("value_first", "value_second", "difference", "low", "high", "sd"),
    *("test", "statistic", "p", "p_holm", "family"),
)


class _Part(NamedTuple):
    """Two models on one task at one label fraction."""

    known: Row
    pairing: Pairing
    resamples: int
    seed: int


def compare_models(
    sides: Mapping[str, Mapping[str, pd.DataFrame]],
    all_pairs: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
    divide: Mapper = serial_map,
    stand_ins: bool = False,
) -> tuple[pd.DataFrame, list[str]]:
    """Every other model against the first (or all pairs) on every task that both have.

    Args:
        sides: name of the model -> task -> its predictions.
        divide: how the parts (a pair on a task at a label fraction) are gone through: in several processes,
            with a progress bar. Whatever it does, the table is the same.
        stand_ins: if a model shares no label fraction, seed or test case of a task with the first one, take
            the first of those before it with which it does.

    Returns:
        A table with `COLUMNS`, and sentences about what was left out: models that share a task, but no label
        fraction, seed or test case of it, are. The table is empty where that is so of all of them.

    Raises:
        ValueError: no two models have a task in common, or two contradict each other; told with both names.
    """
    names = list(sides)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    parts: list[_Part] = []
    said: list[str] = []
    apart = False
    for first, second in pairs if all_pairs else [(names[0], other) for other in names[1:]]:
        for task in sides[first]:
            if task not in sides[second]:
                said.append(f"{task}: {second} has no such run.")
                continue
            between = names[1 : names.index(second)] if stand_ins and not all_pairs else []
            chosen, pairings, reason = _partner(sides, task, [first, *between], second)
            if reason:
                apart = True
                told = f"{task}: {first} and {second} are not compared, {reason}"
                said.append(f"{told}; {second} is compared with {chosen}." if pairings else f"{told}.")
            if not pairings:
                continue
            tables = sides[chosen][task], sides[second][task]
            said += _left_out(task, chosen, second, pairings, *tables)
            known = {"task": task, "first": chosen, "second": second, "kind": task_of(tables[0])}
            parts += [_Part(known, pairing, resamples, seed) for pairing in pairings]
    if not parts and not apart:
        raise ValueError(f"{' and '.join(names)} have no task in common")
    rows: list[Row] = [row for found in divide(_rows, parts, "compare") for row in found] if parts else []
    return adjust(pd.DataFrame(rows)) if rows else pd.DataFrame(columns=list(COLUMNS)), said


def _partner(
    sides: Mapping[str, Mapping[str, pd.DataFrame]], task: str, candidates: Sequence[str], second: str
) -> tuple[str, list[Pairing], str]:
    """The first candidate that shares cases of a task with `second`: its name, the cases, why not the first.

    Without one there are no cases.
    """
    reason = ""
    for name in candidates:
        if task not in sides[name]:
            continue
        try:
            return name, pair_predictions(sides[name][task], sides[second][task]), reason
        except NothingSharedError as error:
            reason = reason or str(error)
        except ValueError as error:
            raise ValueError(f"{task}, {name} and {second}: {error}") from error
    return candidates[0], [], reason


def _rows(part: _Part) -> list[Row]:
    try:
        found = compare_pairings([part.pairing], part.resamples, part.seed)
    except ValueError as error:
        known = part.known
        raise ValueError(f"{known['task']}, {known['first']} and {known['second']}: {error}") from error
    return [{**part.known, **row} for row in found]


def _left_out(
    task: str, first: str, second: str, pairings: Sequence[Pairing], *tables: pd.DataFrame
) -> Iterator[str]:
    """Sentences about the cases, seeds and fractions that only one of the two has."""
    told = pairings[0]
    shared = told.first[0]["case"].nunique()
    if told.only_first or told.only_second:
        yield (
            f"{task}: compared on the {shared} test cases of both; left out: {told.only_first} of {first}, "
            f"{told.only_second} of {second}, whose splits differ."
        )
    for column, kept in (("seed", set(told.seeds)), ("fraction", {each.fraction for each in pairings})):
        others = set(tables[0][column]) ^ set(tables[1][column])
        if others:
            yield (
                f"{task}: {first} and {second} share {column} {list_values(kept)}; "
                f"left out: {list_values(others)}."
            )


def adjust(table: pd.DataFrame) -> pd.DataFrame:
    """Add `family` and `p_holm`: Holm's adjustment over all p values of one family in the table.

    The families: the main test of every task (`MAIN_TESTS`) over tasks, label fractions and pairs of models;
    the same by age band; every further metric and test by itself.
    """
    main = [
        MAIN_TESTS[kind] == (metric, test)
        for kind, metric, test in table[["kind", "metric", "test"]].to_numpy()
    ]
    everybody = table["stratum"] == EVERYBODY
    further = table["metric"] + " " + table["test"]
    family = further.where(~np.array(main), np.where(everybody, "main test", "main test by age"))
    adjusted = table["p"].astype(float).groupby(family).transform(holm)
    return table.assign(family=family, p_holm=adjusted)[list(COLUMNS)]
