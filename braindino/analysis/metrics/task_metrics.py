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
    """Return every metric of a task: name -> (R,).

    Args:
        table: N rows of predictions.csv.
        weights: (R, N), how often each row counts; by default one row of ones.
        train: rows of the training cases; without them survival has only its `c_index`.
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


def confusion_counts(table: pd.DataFrame) -> list[list[int]]:
    """Return the confusion matrix of a classification, true class in rows.

    Args:
        table: rows of predictions.csv.
    """
    names = class_names(table)
    target, prediction = (class_indices(table[column], names) for column in ("target", "prediction"))
    counts = confusion_matrix(target, prediction, len(names))[0]
    return [[int(value) for value in row] for row in counts]


def class_indices(column: "pd.Series[Any]", names: Sequence[str]) -> NDArray[np.int64]:
    """Return the index (N,) of each class of a column.

    Args:
        column: (N,) names of classes.
        names: names of the classes, in order.
    """
    return np.asarray(pd.Index(names).get_indexer(pd.Index(column.astype(str))), dtype=np.int64)
