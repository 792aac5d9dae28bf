"""Compute every metric of the task that a table of predictions belongs to."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from braindino.analysis.metrics.classification import classification_metrics, confusion_matrix
from braindino.analysis.metrics.regression import regression_metrics
from braindino.analysis.metrics.segmentation import segmentation_metrics
from braindino.analysis.metrics.survival import survival_metrics
from braindino.analysis.metrics.weighting import Floats
from braindino.analysis.predictions import class_names, probability_columns, task_of


def task_metrics(
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
    target, prediction = (class_indices(table[column], names) for column in ("target", "prediction"))
    probabilities = table[probability_columns(table)].to_numpy(dtype=np.float64)
    return classification_metrics(target, probabilities, names, prediction, weights)


def confusion_of(table: pd.DataFrame) -> list[list[int]]:
    """Counts of a classification: true class in rows, predicted class in columns."""
    names = class_names(table)
    target, prediction = (class_indices(table[column], names) for column in ("target", "prediction"))
    counts = confusion_matrix(target, prediction, len(names))[0]
    return [[int(value) for value in row] for row in counts]


def class_indices(column: "pd.Series[Any]", names: Sequence[str]) -> NDArray[np.int64]:
    """Return the index of each name of a column in `names`."""
    return pd.Index(names).get_indexer(pd.Index(column.astype(str))).astype(np.int64)
