"""Base class of all heads, and the multilayer perceptron that most of them train."""

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pandas as pd
from torch import Tensor, nn

from braindino.errors import BraindinoError


@dataclass(frozen=True)
class OptimizerDefaults:
    """Settings of the optimiser of a head; by default those of BrainDINO's released code.

    Attributes:
        lr: learning rate.
        weight_decay: weight decay.
        betas: decay rates of the two moments.
        decay: whether the learning rate falls linearly to 0 over all epochs.
        warmup: share of all steps in which the learning rate rises linearly from almost 0, with `decay`.
        coupled: use Adam, whose weight decay is part of the gradient, instead of AdamW.
    """

    lr: float = 1e-4
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    decay: bool = False
    coupled: bool = False
    warmup: float = 0.0

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the factor of the learning rate at a step, from 0, of so many."""
        rise = max(int(self.warmup * steps), 1)
        return min((step + 1) / rise, max(0.0, 1 - step / steps))


class Head(nn.Module, ABC):
    """Define the target of a probe. A new task is one subclass.

    A subclass stores each argument of its constructor as an attribute of the same name.

    Attributes:
        task: "classification", "regression", "survival" or "segmentation". It determines the columns that
            `rows` returns, and so the statistics.
        metric: name of the validation metric that selects the epoch.
        mode: "max" or "min", the better direction of `metric`.
        batch_size: cases per step that suit the loss (slices, where `dense`); None for all of them.
        dense: whether the input is a map per slice (B, width, H, W) instead of a vector per case (B, width).
        optimizer_defaults: settings of the optimiser.
        unit: unit of the prediction; "" where the name of the target implies it, or there is none.
        dropout: share of features that is dropped in training after the norm and after GELU.
        stored_defaults: arguments that heads of earlier versions did not have, with the values that stand for
            their behaviour; files omit them at these values.
        layers: the trained layers; made by `build`.
    """

    task: str
    metric: str
    mode: Literal["max", "min"]
    batch_size: int | None = 8
    dense = False
    optimizer_defaults = OptimizerDefaults()
    unit = ""
    dropout = 0.0
    stored_defaults: ClassVar[Mapping[str, Any]] = {}
    layers: nn.Module

    def __init_subclass__(cls, **options: Any) -> None:
        """Accept `recipe`, the former name of `optimizer_defaults`, in heads of users."""
        super().__init_subclass__(**options)
        recipe = vars(cls).get("recipe")
        if isinstance(recipe, OptimizerDefaults):
            cls.optimizer_defaults = recipe

    @abstractmethod
    def encode(self, cases: pd.DataFrame, classes: Sequence[str]) -> Tensor:
        """Return the targets of N cases, (N,) or (N, T), in the form that `loss` takes.

        Args:
            cases: a data module's `cases`. One target is the column `target` (class number, or a number);
                several targets are columns of their own names.
            classes: names of the classes; empty for numbers.

        Raises:
            BraindinoError: this head cannot use the targets.
        """

    @abstractmethod
    def build(self, width: int, train_target: Tensor, classes: Sequence[str]) -> None:
        """Initialise all parameters.

        Args:
            width: length of the input vectors, or channels of the input maps.
            train_target: encoded targets of the labelled training cases, the only ones it may use.
            classes: names of the classes or regions; empty for numbers.
        """

    def check_single_target(self, cases: pd.DataFrame) -> None:
        """Raise BraindinoError if the cases have several targets, such as a time and an event."""
        if "target" not in cases:
            raise BraindinoError(
                f"{type(self).__name__} predicts one target; the data has several (time and event?).\n"
                "Name one column as the target, or use SurvivalHead."
            )

    def forward(self, pooled: Tensor) -> Tensor:
        """Return the outputs (B, outputs) for pooled features (B, width)."""
        output: Tensor = self.layers(pooled)
        return output

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the scalar loss of outputs (B, outputs) and encoded targets (B,)."""

    def evidence(self, output: Tensor, target: Tensor, case: Tensor) -> dict[str, Tensor]:
        """Return what `scores` needs of a validation batch; by default outputs and targets.

        Args:
            output: (B, outputs), as `loss` takes it.
            target: (B,), as `loss` takes it.
            case: (B,) number of the case of each row.
        """
        return {"output": output, "target": target}

    def scores(self, evidence: dict[str, Tensor]) -> dict[str, float]:
        """Return `loss` and the `metrics` of a part of the split.

        Args:
            evidence: results of `evidence` of all batches, concatenated.
        """
        output, target = evidence["output"], evidence["target"]
        return {"loss": float(self.loss(output, target)), **self.metrics(output, target)}

    @abstractmethod
    def metrics(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Return validation metrics of outputs (N, outputs) and targets (N,); NaN if undefined."""

    @abstractmethod
    def rows(self, output: Tensor, cases: pd.DataFrame) -> pd.DataFrame:
        """Return the columns of predictions.csv with truth and prediction of N cases.

        Args:
            output: (N, outputs).
            cases: the N cases, with their targets.
        """


def mlp(width: int, outputs: int, dropout: float = 0.0) -> nn.Module:
    """Return LayerNorm, Linear, GELU, Linear, with dropout after norm and GELU (BrainDINO).

    Parameters have the same names with and without dropout.

    Args:
        width: length of the input.
        outputs: length of the output.
        dropout: probability of dropping a feature; 0 adds no dropout layer.
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
