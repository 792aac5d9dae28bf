"""Read, check and format predictions.csv: one row per case, seed, label fraction (and fold)."""

from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from braindino.analysis.metrics.segmentation import MEASURED, REGION, ROW, invalid_rows
from braindino.csv_text import csv_text, restore_table
from braindino.documents import load_text

MAX_TABLE = 4 << 30  # bytes
KEYS = ("case", "group", "split", "seed", "fraction")
FOLD = "fold"  # one more key, in cross-validation only
PREDICTED = ("target", "prediction")
SURVIVAL = ("risk", "time", "event")
SEGMENTED = (REGION, *MEASURED)
PROBABILITY = "prob_"
TRAITS = ("dataset", "site", "sex", "age")


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Read and check a predictions.csv.

    Args:
        path: the file.

    Raises:
        ValueError: the file is not a table of predictions; names the file, the case and the problem.
    """
    try:
        # As text first: pandas may round the last bit of a number, and reads the site "NA" as a blank.
        text = StringIO(load_text(path, MAX_TABLE))
        table = restore_table(pd.read_csv(text, dtype=str, keep_default_na=False))
        if table.empty:
            raise ValueError("no rows; it was damaged or edited")
        task = task_of(table)
        numbers = ["fraction", "age", *probability_columns(table)]
        numbers += {"regression": PREDICTED, "survival": SURVIVAL, "segmentation": ROW}.get(task, ())
        for name in table.columns.intersection(numbers):
            table[name] = table[name].replace("", "nan").astype(float)
        for name in table.columns.intersection(["seed", FOLD]):
            table[name] = table[name].astype(int)
        check_predictions(table)
        return table.astype({"event": int}) if task == "survival" else table
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def format_predictions(table: pd.DataFrame) -> str:
    """Return the text of predictions.csv, whose numbers are read back exactly.

    Args:
        table: the predictions.

    Raises:
        ValueError: it is not a table of predictions.
    """
    checked = check_predictions(table)
    order = [
        *KEYS,
        *cell_columns(checked)[2:],
        *label_columns(checked),
        *probability_columns(checked),
        *(name for name in TRAITS if name in checked),
    ]
    further = [name for name in checked.columns if name not in order]
    return csv_text(checked[order + further])


def check_predictions(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table unchanged, or raise ValueError if it is not a table of predictions.

    These must be right:
    - the columns; one row per case, seed and fraction (and fold, if there is such a column); and each person
      in one part of the split for each seed and fraction (and fold);
    - a classification (at least two columns `prob_<class>`): probabilities that sum to 1, targets and
      predictions among the classes;
    - a regression: finite targets and predictions;
    - survival (a column `risk`, the log relative hazard): finite risks, times of 0 or above, and events that
      are 0 (censored) or 1;
    - a segmentation (a column `region`, a row per case and region): Dice from 0 to 1, `hd95` in mm or blank,
      volumes in ml, further shares (`nsd`, `lesion_f1`, `pq`) from 0 to 1 or blank, and every region of every
      case.

    Args:
        table: the predictions.

    Raises:
        ValueError: names the first problem.
    """
    missing = [name for name in (*KEYS, *label_columns(table)) if name not in table]
    if missing:
        raise ValueError(f"columns missing: {', '.join(missing)}")
    task, cell = task_of(table), cell_columns(table)
    _check_keys(table, cell, [*cell, REGION] if task == "segmentation" else cell)
    if task == "segmentation":
        problem = invalid_rows(table, cell)
        if problem is not None:
            _raise_if_any(table, *problem)
    elif task == "classification":
        _check_classes(table)
    else:
        for name in label_columns(table):
            numbers = pd.to_numeric(table[name], errors="coerce")
            _raise_if_any(table, ~np.isfinite(numbers), f"{name} is no finite number")
    if task == "survival":
        _raise_if_any(table, table["time"].astype(float) < 0, "the time is negative")
        _raise_if_any(table, ~table["event"].astype(float).isin([0, 1]), "the event is neither 0 nor 1")
    return table


def _check_keys(table: pd.DataFrame, cell: Sequence[str], row: Sequence[str]) -> None:
    """Raise ValueError for two rows of a case in a cell, or a person in two parts of the split.

    Args:
        table: the predictions.
        cell: columns that identify a cell.
        row: columns that identify a row of a case.
    """
    repeated = table.duplicated(["case", *row])
    if repeated.any():
        first = table[repeated].iloc[0]
        where = ", ".join(f"{name} {first[name]}" for name in row)
        raise ValueError(f"case {first['case']} occurs twice in {where}")
    parts = table.groupby([*cell, "group"])["split"].nunique()
    if (parts > 1).any():
        *values, group = parts.index[parts > 1][0]
        where = ", ".join(f"{name} {value}" for name, value in zip(cell, values, strict=True))
        raise ValueError(f"{group} is in two parts of the split ({where})")


def cell_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns that identify a trained probe: seed, fraction, and fold if any.

    Args:
        table: the predictions.
    """
    return ["seed", "fraction", *([FOLD] if FOLD in table else [])]


def task_of(table: pd.DataFrame) -> str:
    """Return "classification", "survival", "segmentation" or "regression", by the columns.

    Args:
        table: the predictions.
    """
    if probability_columns(table):
        return "classification"
    if REGION in table:
        return "segmentation"
    return "survival" if "risk" in table else "regression"


def align_risks(table: pd.DataFrame) -> pd.DataFrame:
    """Return predictions whose risks are on one scale, so that folds can be joined.

    The risks of different models have no common zero: from each cell the median risk of its training cases is
    subtracted. Other predictions and tables without folds are returned unchanged.

    Args:
        table: the predictions.
    """
    if FOLD not in table or task_of(table) != "survival":
        return table
    train = table[table["split"] == "train"].groupby(cell_columns(table))["risk"].median().rename("median")
    median = table.join(train, on=cell_columns(table))["median"]
    return table.assign(risk=table["risk"] - median)


def label_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the columns of truth and prediction, which depend on the task.

    Args:
        table: the predictions.
    """
    return {"survival": SURVIVAL, "segmentation": SEGMENTED}.get(task_of(table), PREDICTED)


def probability_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns `prob_<class>` in order; empty unless a classification.

    Args:
        table: the predictions.
    """
    return [str(name) for name in table.columns if str(name).startswith(PROBABILITY)]


def class_names(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the classes in the order of their columns; empty unless a classification.

    Args:
        table: the predictions.
    """
    return tuple(name.removeprefix(PROBABILITY) for name in probability_columns(table))


def _check_classes(table: pd.DataFrame) -> None:
    """Raise ValueError for a wrong class, or for probabilities that do not sum to 1."""
    names, probabilities = class_names(table), probability_columns(table)
    if len(names) < 2:
        raise ValueError(f"a classification has at least two classes, found only {probabilities[0]}")
    for column in PREDICTED:
        _raise_if_any(table, ~table[column].isin(names), f"{column} is none of {', '.join(names)}")
    values = table[probabilities].to_numpy(dtype=np.float64)
    valid = np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1)
    valid &= np.abs(values.sum(axis=1) - 1) < 1e-3
    _raise_if_any(table, ~valid, "the probabilities are not numbers from 0 to 1 that sum to 1")


def _raise_if_any(table: pd.DataFrame, invalid: "pd.Series[bool] | NDArray[Any]", reason: str) -> None:
    """Raise ValueError with the first case of the invalid rows, if there are any."""
    if np.any(invalid):
        row = table[np.asarray(invalid)].iloc[0]
        raise ValueError(f"case {row['case']}: {reason}")
