"""Align the predictions of two models on the cases, seeds and fractions that both have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from braindino.analysis.metrics.segmentation import NSD, NSD_TOLERANCE, REGION, nsd_tolerance
from braindino.analysis.predictions import class_names, task_of
from braindino.errors import NothingSharedError

TRUTH_COLUMNS = {"segmentation": ("true_ml",), "survival": ("time", "event")}  # by default "target"


@dataclass
class Pairing:
    """Test rows of two models at one label fraction.

    Attributes:
        fraction: the label fraction.
        seeds: seeds that both models have.
        first: rows of predictions.csv of the first model, one table per seed, cases in the same order.
        second: the same of the second model.
        only_first: number of test cases that only the first model has.
        only_second: number of test cases that only the second model has.
    """

    fraction: float
    seeds: list[int]
    first: list[pd.DataFrame]
    second: list[pd.DataFrame]
    only_first: int
    only_second: int

    def part(self, chosen: "pd.Series[bool]") -> "Pairing":
        """Return a part of the cases.

        Args:
            chosen: (rows,) True for rows to include.
        """
        models = [[table[chosen.to_numpy()] for table in tables] for tables in (self.first, self.second)]
        return Pairing(self.fraction, self.seeds, models[0], models[1], self.only_first, self.only_second)


def pair_predictions(first: pd.DataFrame, second: pd.DataFrame) -> list[Pairing]:
    """Align the test rows of two models, at every label fraction and seed that both have.

    Surface Dice at different tolerances is excluded.

    Args:
        first: rows of predictions.csv of the first model.
        second: the same of the second model.

    Raises:
        NothingSharedError: they have no test case, seed or fraction in common.
        ValueError: they are of different tasks, classes or regions, or contradict each other about the label
            or the person of a case.
    """
    _check_equal("tasks", task_of(first), task_of(second))
    _check_equal("classes", list(class_names(first)), list(class_names(second)))
    regions = [sorted(set(table[REGION])) if REGION in table else [] for table in (first, second)]
    _check_equal("regions", *regions)
    tests = [table[table["split"] == "test"] for table in (first, second)]
    if tolerances_differ(first, second):
        tests = [test.drop(columns=[NSD, NSD_TOLERANCE]) for test in tests]
    fractions = _common_values([test["fraction"] for test in tests], "label fraction")
    return [
        _pair_at(fraction, *(test[test["fraction"] == fraction] for test in tests)) for fraction in fractions
    ]


def tolerances_differ(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    """Return whether two models' surface Dice was measured at different tolerances.

    Args:
        first: rows of predictions.csv of the first model.
        second: the same of the second model.
    """
    tolerances = nsd_tolerance(first), nsd_tolerance(second)
    return None not in tolerances and tolerances[0] != tolerances[1]


def _pair_at(fraction: float, first: pd.DataFrame, second: pd.DataFrame) -> Pairing:
    """Align the test rows of two models at one label fraction."""
    seeds = _common_values([first["seed"], second["seed"]], f"seed (at {fraction:.0%} of the labels)")
    cases = set(first["case"]), set(second["case"])
    shared = cases[0] & cases[1]
    if not shared:
        raise NothingSharedError(
            "no test case is in both: their splits differ, or they are of different datasets"
        )
    pairing = Pairing(fraction, seeds, [], [], len(cases[0] - shared), len(cases[1] - shared))
    for seed in seeds:
        rows = []
        for table in (first, second):
            chosen = table[(table["seed"] == seed) & table["case"].isin(shared)]
            rows.append(chosen.set_index(row_keys(chosen)).sort_index())
        if not rows[0].index.equals(rows[1].index):
            raise ValueError(f"seed {seed} was tested on different cases than the other seeds")
        _check_agreement(rows[0], rows[1], TRUTH_COLUMNS.get(task_of(first), ("target",)))
        pairing.first.append(rows[0].reset_index())
        pairing.second.append(rows[1].reset_index())
    return pairing


def _check_agreement(first: pd.DataFrame, second: pd.DataFrame, truths: Sequence[str]) -> None:
    """Raise ValueError if tables, indexed alike, differ in the person or the label of a case."""
    for column in ("group", *truths):
        left, right = first[column], second[column]
        if pd.api.types.is_numeric_dtype(left):
            differ = ~np.isclose(left.astype(float), right.astype(float))
        else:
            differ = (left.astype(str) != right.astype(str)).to_numpy()
        if differ.any():
            row = int(differ.argmax())
            case = first.index[row]
            name = case if isinstance(case, str) else case[0]
            raise ValueError(
                f"they disagree about case {name}: {column} {left.iloc[row]} in the first, "
                f"{right.iloc[row]} in the second; they are not of the same labels"
            )


def row_keys(table: pd.DataFrame) -> list[str]:
    """Return the columns that identify a row of a trained probe: case, and region if any.

    Args:
        table: rows of predictions.csv.
    """
    return ["case", REGION] if REGION in table else ["case"]


def list_values(values: set[Any]) -> str:
    """Return numbers in ascending order, separated by commas.

    Args:
        values: the numbers.
    """
    return ", ".join(f"{value:g}" for value in sorted(values))


def _common_values(columns: Sequence["pd.Series[Any]"], name: str) -> list[Any]:
    first, second = (set(column) for column in columns)
    shared = sorted(first & second)
    if not shared:
        raise NothingSharedError(
            f"no {name} in common: {list_values(first)} in the first, {list_values(second)} in the second"
        )
    return shared


def _check_equal(name: str, first: Any, second: Any) -> None:
    if first != second:
        raise ValueError(f"they have different {name}: {first} and {second}")
