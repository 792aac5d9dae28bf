"""Two tables of predictions beside each other: the test cases, seeds and label fractions that both have."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from braindino.analysis.metrics.segmentation import REGION
from braindino.analysis.predictions import class_names, task_of
from braindino.errors import NothingSharedError

TRUTHS = {"segmentation": ("true_ml",), "survival": ("time", "event")}


@dataclass
class Pairing:
    """Test rows of two models at one label fraction: a table per seed of each, cases in the same order."""

    fraction: float
    seeds: list[int]
    first: list[pd.DataFrame]
    second: list[pd.DataFrame]
    only_first: int
    only_second: int

    def part(self, chosen: "pd.Series[bool]") -> "Pairing":
        """The cases for which `chosen`, indexed like the tables, is True."""
        sides = [[table[chosen.to_numpy()] for table in side] for side in (self.first, self.second)]
        return Pairing(self.fraction, self.seeds, sides[0], sides[1], self.only_first, self.only_second)


def pair_predictions(first: pd.DataFrame, second: pd.DataFrame) -> list[Pairing]:
    """Put the test rows of two models beside each other, at every label fraction and of every seed both have.

    Args:
        first, second: what `read_predictions` gives.

    Raises:
        NothingSharedError: they have no test case, seed or fraction in common.
        ValueError: they are of different tasks, classes or regions, or disagree about the truth or the person
            of a case.
    """
    _same("tasks", task_of(first), task_of(second))
    _same("classes", list(class_names(first)), list(class_names(second)))
    regions = [sorted(set(table[REGION])) if REGION in table else [] for table in (first, second)]
    _same("regions", *regions)
    sides = [table[table["split"] == "test"] for table in (first, second)]
    fractions = _common([side["fraction"] for side in sides], "label fraction")
    return [
        _pair_at(fraction, *(side[side["fraction"] == fraction] for side in sides)) for fraction in fractions
    ]


def _pair_at(fraction: float, first: pd.DataFrame, second: pd.DataFrame) -> Pairing:
    seeds = _common([first["seed"], second["seed"]], f"seed (at {fraction:.0%} of the labels)")
    tables: tuple[list[pd.DataFrame], list[pd.DataFrame]] = ([], [])
    names = [set(side["case"]) for side in (first, second)]
    shared = names[0] & names[1]
    if not shared:
        raise NothingSharedError(
            "no test case is in both: they were split otherwise, or are of different datasets"
        )
    for seed in seeds:
        rows = []
        for side in (first, second):
            kept = side[(side["seed"] == seed) & side["case"].isin(shared)]
            rows.append(kept.set_index(row_keys(kept)).sort_index())
        if not rows[0].index.equals(rows[1].index):
            raise ValueError(f"seed {seed} was tested on other cases than the other seeds")
        _agree(rows[0], rows[1], TRUTHS.get(task_of(first), ("target",)))
        for kept_tables, table in zip(tables, rows, strict=True):
            kept_tables.append(table.reset_index())
    return Pairing(fraction, seeds, *tables, len(names[0] - shared), len(names[1] - shared))


def _agree(first: pd.DataFrame, second: pd.DataFrame, truths: Sequence[str]) -> None:
    """Refuse tables, indexed alike, that disagree about who a case is or what is true of it."""
    for column in ("group", *truths):
        mine, other = first[column], second[column]
        if pd.api.types.is_numeric_dtype(mine):
            differ = ~np.isclose(mine.astype(float), other.astype(float))
        else:
            differ = (mine.astype(str) != other.astype(str)).to_numpy()
        if differ.any():
            case = first.index[int(differ.argmax())]
            name = case if isinstance(case, str) else case[0]
            raise ValueError(
                f"they disagree about case {name}: {column} {mine.iloc[int(differ.argmax())]} in the first, "
                f"{other.iloc[int(differ.argmax())]} in the second; they are not of the same labels"
            )


def row_keys(table: pd.DataFrame) -> list[str]:
    """The columns that name a row of one trained probe: the case, and the region of a segmentation."""
    return ["case", REGION] if REGION in table else ["case"]


def list_values(values: set[Any]) -> str:
    """Numbers in their order."""
    return ", ".join(f"{value:g}" for value in sorted(values))


def _common(columns: Sequence["pd.Series[Any]"], what: str) -> list[Any]:
    values = [set(column) for column in columns]
    shared = sorted(values[0] & values[1])
    if not shared:
        raise NothingSharedError(
            f"no {what} in common: {list_values(values[0])} in the first, "
            f"{list_values(values[1])} in the second"
        )
    return shared


def _same(what: str, first: Any, second: Any) -> None:
    if first != second:
        raise ValueError(f"they have different {what}: {first} and {second}")
