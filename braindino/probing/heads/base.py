"""Heads: from a pooled vector to a prediction, with their loss, metrics and rows of predictions.csv."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from braindino.analysis.metrics.classification import classification_metrics
from braindino.analysis.metrics.regression import regression_metrics
from braindino.errors import BraindinoError
from braindino.identity import stable_id


@dataclass(frozen=True)
class Recipe:
    """How AdamW trains a head, unless the user says otherwise; the defaults are Adam of BrainDINO's code.

    decay: whether the learning rate falls linearly to 0 over all epochs. coupled: Adam, whose weight decay is
    part of the gradient, instead of AdamW.
    """

    lr: float = 1e-4
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    decay: bool = False
    coupled: bool = False


class Head(nn.Module, ABC):
    """What to predict. A new task is one subclass; it keeps its arguments as attributes of the same names.

    Attributes:
        task: "classification", "regression", "survival" or "segmentation": which columns `rows` gives, hence
            which statistics follow.
        metric: of validation, by which the epoch is chosen; mode: whether "max" or "min" is best.
        batch_size: cases (of a dense head, slices) per step that suit the loss; None for all of them.
        dense: whether it sees maps of slices (B, width, H, W) instead of a vector per case (B, width).
        recipe: how it is trained.
        dropout: share of features that is left out after the norm and after GELU, in training.
        unit: of what it predicts; "" where the target's name tells it, or it has none.
    """

    task: str
    metric: str
    mode: Literal["max", "min"]
    batch_size: int | None = 8
    dense = False
    recipe = Recipe()
    unit = ""
    dropout = 0.0
    layers: nn.Module

    @abstractmethod
    def encode(self, cases: pd.DataFrame, classes: Sequence[str]) -> Tensor:
        """The targets of N cases, (N,) or (N, T), as `loss` wants them.

        Args:
            cases: a data module's `cases`: one target is the column `target` (class number, or a number),
                several are columns by their own names.
            classes: names of the classes; empty for numbers.

        Raises:
            BraindinoError: targets that this head cannot use.
        """

    @abstractmethod
    def build(self, width: int, train_target: Tensor, classes: Sequence[str]) -> None:
        """Make the parameters anew for vectors of `width`, knowing the training part's targets only."""

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, width) -> (B, outputs)."""
        return self.layers(pooled)

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar loss of outputs (B, outputs) against encoded targets (B,)."""

    def evidence(self, output: Tensor, target: Tensor, case: Tensor) -> dict[str, Tensor]:
        """What validation keeps of a batch, row by row: here all of it.

        Args:
            output, target: as `loss` takes them. case: (B,) the number of the case each row is of.
        """
        return {"output": output, "target": target}

    def scores(self, evidence: dict[str, Tensor]) -> dict[str, float]:
        """`loss` and the `metrics` of a part of the split, from the `evidence` of all its batches."""
        output, target = evidence["output"], evidence["target"]
        return {"loss": float(self.loss(output, target)), **self.metrics(output, target)}

    @abstractmethod
    def metrics(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Validation metrics of outputs (N, outputs) against encoded targets (N,); NaN where undefined."""

    @abstractmethod
    def rows(self, output: Tensor, cases: pd.DataFrame) -> pd.DataFrame:
        """Columns of predictions.csv for the outputs (N, outputs) of N cases: truth and prediction."""


@stable_id("ClassificationHead")
class ClassificationHead(Head):
    """Two or more classes: cross entropy; the epoch is chosen by the macro one-vs-rest AUROC.

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
        """(N,) class numbers."""
        if len(classes) < 2:
            raise BraindinoError(
                f"ClassificationHead needs two classes at least; the data has {len(classes)}.\n"
                "For a number such as the age, use RegressionHead."
            )
        return torch.tensor(cases["target"].to_numpy(dtype=np.int64))

    def build(self, width: int, train_target: Tensor, classes: Sequence[str]) -> None:
        """LayerNorm, Linear, GELU, Linear to one logit per class (BrainDINO, Methods)."""
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
        """(Weighted) cross entropy of logits (B, C) against class numbers (B,)."""
        return functional.cross_entropy(output.float(), target, weight=self.weight)

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """`auroc`, `balanced_accuracy`, `accuracy`, `f1`, ... as in `analysis.metrics`."""
        values = classification_metrics(target.cpu().numpy(), _probabilities(output), self.classes)
        return {name: float(value[0]) for name, value in values.items()}

    def rows(self, output: Tensor, cases: pd.DataFrame) -> pd.DataFrame:
        """The class, the most probable class, and a probability for each."""
        return classification_rows(_probabilities(output), cases, self.classes)


@stable_id("RegressionHead")
class RegressionHead(Head):
    """A number such as the age: mean squared error of the target standardised on the training part."""

    task = "regression"
    metric, mode = "mae", "min"
    mean: Tensor
    spread: Tensor

    def encode(self, cases: pd.DataFrame, classes: Sequence[str]) -> Tensor:
        """(N,) numbers in the target's unit."""
        if classes:
            raise BraindinoError(
                f"RegressionHead predicts numbers; the data has classes ({', '.join(classes)}).\n"
                "Use ClassificationHead."
            )
        odd = cases[~np.isfinite(cases["target"].astype(float))]
        if len(odd):
            raise BraindinoError(
                f"case {odd['case'].iloc[0]}: the target is {odd['target'].iloc[0]}, expected a number."
            )
        return torch.tensor(cases["target"].to_numpy(dtype=np.float32))

    def build(self, width: int, train_target: Tensor, classes: Sequence[str]) -> None:
        """LayerNorm, Linear, GELU, Linear to one number, in units of the training part's deviation."""
        self.layers = mlp(width, 1, self.dropout)
        spread = train_target.std(correction=0)
        self.register_buffer("mean", train_target.mean())
        self.register_buffer("spread", spread if spread > 0 else torch.ones_like(spread))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Mean squared error in units of the training part's variance."""
        return functional.mse_loss(output.float().squeeze(-1), (target - self.mean) / self.spread)

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """`mae`, `rmse`, `r2`, `pearson` in the target's unit."""
        values = regression_metrics(target.cpu().numpy(), self.in_units(output))
        return {name: float(value[0]) for name, value in values.items()}

    def rows(self, output: Tensor, cases: pd.DataFrame) -> pd.DataFrame:
        """Truth and prediction, in the target's unit."""
        return regression_rows(self.in_units(output), cases)

    def in_units(self, output: Tensor) -> np.ndarray:
        """(N,) predictions in the target's unit."""
        # On the host: accelerators without float64 exist.
        values = output.detach().cpu().double().squeeze(-1)
        return (values * self.spread.cpu() + self.mean.cpu()).numpy()


def mlp(width: int, outputs: int, dropout: float = 0.0) -> nn.Module:
    """The head of BrainDINO: LayerNorm -> Linear -> GELU -> Linear, with dropout after the norm and GELU.

    Parameters are called alike with and without dropout.
    """
    layers: list[tuple[str, nn.Module]] = [
        ("0", nn.LayerNorm(width)),
        ("drop_features", nn.Dropout(dropout)),
        ("1", nn.Linear(width, width)),
        ("2", nn.GELU()),
        ("drop_hidden", nn.Dropout(dropout)),
        ("3", nn.Linear(width, outputs)),
    ]
    return nn.Sequential(OrderedDict(layer for layer in layers if dropout or layer[0].isdigit()))


def classification_rows(
    probabilities: np.ndarray, cases: pd.DataFrame, classes: Sequence[str]
) -> pd.DataFrame:
    """`target`, `prediction` and `prob_<class>` from probabilities (N, C)."""
    names = np.array(classes, dtype=object)
    columns = {
        "target": names[cases["target"].to_numpy(dtype=np.int64)],
        "prediction": names[probabilities.argmax(axis=1)],
    }
    for index, name in enumerate(classes):
        columns[f"prob_{name}"] = probabilities[:, index]
    return pd.DataFrame(columns)


def regression_rows(prediction: np.ndarray, cases: pd.DataFrame) -> pd.DataFrame:
    """`target` and `prediction` from predictions (N,)."""
    return pd.DataFrame({"target": cases["target"].to_numpy(dtype=np.float64), "prediction": prediction})


def _probabilities(output: Tensor) -> np.ndarray:
    """Softmax in float64: float32 would make ties of confident predictions, and sums that are not 1."""
    return output.detach().cpu().double().softmax(dim=-1).numpy()
