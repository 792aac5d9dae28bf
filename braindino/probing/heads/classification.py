"""Classification head: cross entropy over two or more classes."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from braindino.analysis.metrics.classification import classification_metrics
from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.probing.heads.base import Head, mlp


@stable_id("ClassificationHead")
class ClassificationHead(Head):
    """Predict one of two or more classes; the macro one-vs-rest AUROC selects the epoch.

    Args:
        class_weights: "balanced" weighs each class by the inverse of its frequency in the training part; a
            list gives the weights in the order of the classes; omitted, every case counts the same.
    """

    task = "classification"
    metric, mode = "auroc", "max"
    weight: Tensor | None

    def __init__(self, class_weights: Literal["balanced"] | list[float] | None = None) -> None:
        super().__init__()
        self.class_weights = class_weights
        self.classes: tuple[str, ...] = ()

    def encode(self, cases: pd.DataFrame, classes: Sequence[str]) -> Tensor:
        """Return the class numbers, (N,)."""
        if len(classes) < 2:
            raise BraindinoError(
                f"ClassificationHead needs two classes at least; the data has {len(classes)}.\n"
                "For a number such as the age, use RegressionHead."
            )
        self.check_single_target(cases)
        return torch.tensor(cases["target"].to_numpy(dtype=np.int64))

    def build(self, width: int, train_target: Tensor, classes: Sequence[str]) -> None:
        """Initialise LayerNorm, Linear, GELU, Linear to one logit per class (BrainDINO, Methods)."""
        self.classes = tuple(classes)
        self.layers = mlp(width, len(classes), self.dropout)
        weight = None
        if self.class_weights == "balanced":
            counts = torch.bincount(train_target, minlength=len(classes)).clamp(min=1)
            weight = len(train_target) / (len(classes) * counts.float())
        elif self.class_weights is not None:
            if len(self.class_weights) != len(classes):
                raise BraindinoError(
                    f"class_weights has {len(self.class_weights)} numbers for {len(classes)} classes: "
                    f"{', '.join(self.classes)}."
                )
            weight = torch.tensor(self.class_weights, dtype=torch.float32)
        self.register_buffer("weight", weight)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the (weighted) cross entropy of logits (B, C) and class numbers (B,)."""
        return functional.cross_entropy(output.float(), target, weight=self.weight)

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Return the `classification_metrics`: `auroc`, `balanced_accuracy`, `accuracy`, `f1`, ..."""
        values = classification_metrics(target.cpu().numpy(), _probabilities(output), self.classes)
        return {name: float(value[0]) for name, value in values.items()}

    def rows(self, output: Tensor, cases: pd.DataFrame) -> pd.DataFrame:
        """Return the true class, the most probable class, and a probability of each class."""
        return classification_rows(_probabilities(output), cases, self.classes)


def classification_rows(
    probabilities: np.ndarray, cases: pd.DataFrame, classes: Sequence[str]
) -> pd.DataFrame:
    """Return the columns `target`, `prediction` and `prob_<class>` of predictions.csv.

    Args:
        probabilities: (N, C).
        cases: N cases with the class number in the column `target`.
        classes: C names.
    """
    names = np.array(classes, dtype=object)
    columns = {
        "target": names[cases["target"].to_numpy(dtype=np.int64)],
        "prediction": names[probabilities.argmax(axis=1)],
    }
    for index, name in enumerate(classes):
        columns[f"prob_{name}"] = probabilities[:, index]
    return pd.DataFrame(columns)


def _probabilities(output: Tensor) -> np.ndarray:
    """Return the softmax in float64; in float32 predictions tie, and sums differ from 1."""
    return output.detach().cpu().double().softmax(dim=-1).numpy()
