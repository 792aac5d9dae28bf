"""The format of predictions.csv: one row per case, seed, fraction (and fold); all statistics come from it."""

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from braindino.analysis.metrics.segmentation import LESIONS, MEASURED, REGION, first_wrong
from braindino.csv_text import csv_text, restore_table
from braindino.documents import read_text

MAX_TABLE = 4 << 30  # bytes
KEYS = ("case", "group", "split", "seed", "fraction")
FOLD = "fold"  # a further key, of cross-validation only
PREDICTED = ("target", "prediction")
SURVIVAL = ("risk", "time", "event")
SEGMENTED = (REGION, *MEASURED)
PROBABILITY = "prob_"
TRAITS = ("dataset", "site", "sex", "age")


def read_predictions(path: Path | str) -> pd.DataFrame:
    """Read and check a predictions.csv; what is wrong with it is told with the name of the file."""
    try:
        # As text first: pandas may miss the last bit of a number, and takes the site "NA" for a gap.
        text = StringIO(read_text(path, MAX_TABLE))
        table = restore_table(pd.read_csv(text, dtype=str, keep_default_na=False))
        if table.empty:
            raise ValueError("no rows; it was damaged or edited")
        task = task_of(table)
        numbers = ["fraction", "age", *probability_columns(table)]
        measured = (*MEASURED, *LESIONS)
        numbers += {"regression": PREDICTED, "survival": SURVIVAL, "segmentation": measured}.get(task, ())
        for name in table.columns.intersection(numbers):
            table[name] = table[name].replace("", "nan").astype(float)
        for name in table.columns.intersection(["seed", FOLD]):
            table[name] = table[name].astype(int)
        check_predictions(table)
        return table.astype({"event": int}) if task == "survival" else table
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def format_predictions(table: pd.DataFrame) -> str:
    """The text of the file: checked, columns in their order, numbers that read back exactly."""
    checked = check_predictions(table)
    order = [
        *KEYS,
        *cell_columns(checked)[2:],
        *label_columns(checked),
        *probability_columns(checked),
        *(name for name in TRAITS if name in checked),
    ]
    others = [name for name in checked.columns if name not in order]
    return csv_text(checked[order + others])


def check_predictions(table: pd.DataFrame) -> pd.DataFrame:
    """Return `table`, or raise ValueError naming the first thing that makes it no table of predictions.

    Checked: the columns; one row per case, seed and fraction (and fold, if there is such a column); nobody in
    two parts of one seed and fraction (and fold);
    for a classification (columns `prob_<class>`, two at least) probabilities that sum to 1, and targets and
    predictions among the classes; for a regression finite targets and predictions; for survival (a column
    `risk`, the log relative hazard) finite risks, times of 0 or above, and events that are 0 (censored) or 1.
    A segmentation (a column `region`) has a row per case and region: Dice from 0 to 1, `hd95` in mm or blank,
    volumes in ml, and every region of every case.
    """
    missing = [name for name in (*KEYS, *label_columns(table)) if name not in table]
    if missing:
        raise ValueError(f"columns missing: {', '.join(missing)}")
    cell = cell_columns(table)
    row_of = [*cell, REGION] if task_of(table) == "segmentation" else cell
    twice = table.duplicated(["case", *row_of])
    if twice.any():
        row = table[twice].iloc[0]
        where = ", ".join(f"{name} {row[name]}" for name in row_of)
        raise ValueError(f"case {row['case']} occurs twice in {where}")
    parts = table.groupby([*cell, "group"])["split"].nunique()
    if (parts > 1).any():
        *values, group = parts.index[parts > 1][0]
        where = ", ".join(f"{name} {value}" for name, value in zip(cell, values, strict=True))
        raise ValueError(f"{group} is in two parts of the split ({where})")
    probabilities = probability_columns(table)
    if task_of(table) == "segmentation":
        wrong = first_wrong(table, cell)
        if wrong is not None:
            _refuse(table, *wrong)
    elif probabilities:
        _check_classes(table, probabilities)
    else:
        for name in label_columns(table):
            numbers = pd.to_numeric(table[name], errors="coerce")
            _refuse(table, ~np.isfinite(numbers), f"{name} is no finite number")
    if task_of(table) == "survival":
        _refuse(table, table["time"].astype(float) < 0, "the time is negative")
        _refuse(table, ~table["event"].astype(float).isin([0, 1]), "the event is neither 0 nor 1")
    return table


def cell_columns(table: pd.DataFrame) -> list[str]:
    """The columns that tell one trained probe from another: seed, fraction, and fold where there is one."""
    return ["seed", "fraction", *([FOLD] if FOLD in table else [])]


def task_of(table: pd.DataFrame) -> str:
    """ "classification", "survival", "segmentation" or "regression", by the columns."""
    if probability_columns(table):
        return "classification"
    if REGION in table:
        return "segmentation"
    return "survival" if "risk" in table else "regression"


def align_risks(table: pd.DataFrame) -> pd.DataFrame:
    """Predictions of several folds made comparable, so that their test parts can be taken together.

    Risks have no zero in common between models: of every cell the median of its training cases is subtracted.
    Probabilities and numbers stay as they are, and so does a table without folds.
    """
    if FOLD not in table or task_of(table) != "survival":
        return table
    train = table[table["split"] == "train"].groupby(cell_columns(table))["risk"].median().rename("zero")
    zero = table.join(train, on=cell_columns(table))["zero"]
    return table.assign(risk=table["risk"] - zero)


def label_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """Truth and prediction in the task's own columns."""
    return {"survival": SURVIVAL, "segmentation": SEGMENTED}.get(task_of(table), PREDICTED)


def probability_columns(table: pd.DataFrame) -> list[str]:
    """The columns `prob_<class>` in the order of the classes; empty for a regression."""
    return [str(name) for name in table.columns if str(name).startswith(PROBABILITY)]


def class_names(table: pd.DataFrame) -> tuple[str, ...]:
    """The classes in the order of their columns; empty for a regression."""
    return tuple(name.removeprefix(PROBABILITY) for name in probability_columns(table))


def _check_classes(table: pd.DataFrame, probabilities: list[str]) -> None:
    names = class_names(table)
    if len(names) < 2:
        raise ValueError(f"a classification has two classes at least, found only {probabilities[0]}")
    for column in ("target", "prediction"):
        _refuse(table, ~table[column].isin(names), f"{column} is none of {', '.join(names)}")
    values = table[probabilities].to_numpy(dtype=np.float64)
    wrong = ~(
        np.isfinite(values).all(axis=1) & (values >= 0).all(axis=1) & (np.abs(values.sum(axis=1) - 1) < 1e-3)
    )
    _refuse(table, wrong, "the probabilities are not numbers from 0 to 1 that sum to 1")


def _refuse(table: pd.DataFrame, wrong: "pd.Series[bool] | np.ndarray", reason: str) -> None:
    if np.any(wrong):
        row = table[np.asarray(wrong)].iloc[0]
        raise ValueError(f"case {row['case']}: {reason}")
