"""Heads that are solved at once: logistic, ridge and Cox regression, nearest neighbours."""

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor, nn
from torch.nn import functional

from braindino.analysis.neighbours import NEIGHBOURS, neighbour_mean
from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.probing.heads.base import Head
from braindino.probing.heads.classification import ClassificationHead
from braindino.probing.heads.cox_net import fit_cox_net
from braindino.probing.heads.regression import RegressionHead
from braindino.probing.heads.survival import SurvivalHead

STRENGTHS = tuple(10.0**power for power in range(-3, 5))


class ClosedForm(Head):
    """Solve a head on pooled features; the pooling must have no parameters.

    Unless it is given, the one option of the head is selected on validation: by the head's metric, among
    equals by the loss. Learning rate, batch size and epochs of the probe have no effect.
    """

    @abstractmethod
    def solve(self, pooled: Tensor, target: Tensor, val: Tensor, val_target: Tensor) -> dict[str, Any]:
        """Set `layers` from the labelled cases; return the selected option and its candidates.

        Args:
            pooled: (N, width) pooled features of the labelled cases.
            target: (N,) or (N, T) their encoded targets.
            val: (V, width) pooled features of the validation cases.
            val_target: (V,) or (V, T) their encoded targets.
        """

    def reserve(self, state: Mapping[str, Tensor]) -> None:
        """Give `layers` the shapes of a solved head, so that its weights can be loaded.

        Args:
            state: `state_dict()` of the solved head.
        """
        outputs, width = state["layers.weight"].shape
        self.layers = nn.Linear(width, outputs)

    def choose(
        self, name: str, candidates: Iterable[tuple[float, nn.Module]], val: Tensor, target: Tensor
    ) -> dict[str, Any]:
        """Set `layers` to the candidate that is best on validation, the first among equals.

        Args:
            name: name of the option.
            candidates: values of the option with the layers that each gives.
            val: (V, width) pooled features of the validation cases.
            target: (V,) or (V, T) their encoded targets.

        Returns:
            {name: selected value}; with several candidates also {"val/<metric>": {value: metric, or None}}.
        """
        sign = 1.0 if self.mode == "max" else -1.0
        best, chosen, selected = (-math.inf, -math.inf), math.nan, None
        tried: dict[str, float | None] = {}
        for option, layers in candidates:
            self.layers = layers
            with torch.inference_mode():
                output = self(val)
                quality = self.metrics(output, target)[self.metric]
                score = (0.0 if math.isnan(quality) else sign * quality, -float(self.loss(output, target)))
            tried[f"{option:g}"] = None if math.isnan(quality) else quality
            if selected is None or score > best:
                best, chosen, selected = score, option, layers
        assert selected is not None
        self.layers = selected
        return {name: chosen, **({f"val/{self.metric}": tried} if len(tried) > 1 else {})}


@stable_id("LogisticHead")
class LogisticHead(ClosedForm, ClassificationHead):
    """Multinomial logistic regression with an L2 penalty (scikit-learn).

    Args:
        strength: strength of the penalty, 1 / C; selected from 0.001 to 10,000 if omitted.
        class_weights: see `ClassificationHead`.
    """

    def __init__(
        self, strength: float | None = None, class_weights: Literal["balanced"] | list[float] | None = None
    ) -> None:
        super().__init__(class_weights)
        self.strength = strength

    def solve(self, pooled: Tensor, target: Tensor, val: Tensor, val_target: Tensor) -> dict[str, Any]:
        """Set `layers`; return the result of `choose` for "strength"."""
        x, y = pooled.double().numpy(), target.numpy()
        present = np.unique(y)
        if len(present) < 2:
            raise BraindinoError("the labelled cases are of one class: use a larger fraction.")
        weight = None if self.weight is None else {int(k): float(self.weight[k]) for k in present}

        def fit(strength: float) -> nn.Module:
            fitted = LogisticRegression(C=1 / strength, max_iter=5000, class_weight=weight).fit(x, y)
            coefficients = np.zeros((len(self.classes), x.shape[1]))
            # A class without a labelled case has a probability of almost 0.
            bias = np.full(len(self.classes), -30.0)
            rows = present[1:] if len(present) == 2 else present
            bias[present] = 0.0
            coefficients[rows], bias[rows] = fitted.coef_, fitted.intercept_
            return linear(coefficients, bias)

        options = STRENGTHS if self.strength is None else (self.strength,)
        return self.choose("strength", ((s, fit(s)) for s in reversed(options)), val, val_target)


@stable_id("RidgeHead")
class RidgeHead(ClosedForm, RegressionHead):
    """Ridge regression (scikit-learn) of the standardised target.

    Args:
        strength: strength of the penalty; selected from 0.001 to 10,000 if omitted.
    """

    def __init__(self, strength: float | None = None) -> None:
        super().__init__()
        self.strength = strength

    def solve(self, pooled: Tensor, target: Tensor, val: Tensor, val_target: Tensor) -> dict[str, Any]:
        """Set `layers`; return the result of `choose` for "strength"."""
        x, y = pooled.double().numpy(), ((target - self.mean) / self.spread).double().numpy()

        def fit(strength: float) -> nn.Module:
            fitted = Ridge(alpha=strength).fit(x, y)
            return linear(fitted.coef_[None], np.array([fitted.intercept_]))

        options = STRENGTHS if self.strength is None else (self.strength,)
        return self.choose("strength", ((s, fit(s)) for s in reversed(options)), val, val_target)


@stable_id("CoxNetHead")
class CoxNetHead(ClosedForm, SurvivalHead):
    """Cox regression with an elastic net; the loss on validation selects the penalty."""

    def __init__(self) -> None:
        super().__init__()

    def solve(self, pooled: Tensor, target: Tensor, val: Tensor, val_target: Tensor) -> dict[str, Any]:
        """Set `layers`; return {"alpha": penalty}."""
        tables = [pd.DataFrame(part.numpy(), columns=["time", "event"]) for part in (target, val_target)]
        fitted = fit_cox_net(pooled.double().numpy(), tables[0], val.double().numpy(), tables[1])
        self.layers = linear(fitted.coefficients[None], np.zeros(1))
        return {"alpha": fitted.alpha}


@stable_id("KNNHead")
class KNNHead(ClosedForm, ClassificationHead):
    """Predict the share of each class among the k labelled cases nearest by cosine similarity.

    Args:
        k: number of neighbours; selected from 1, 3, 5, 10, 20 and 50 (BrainDINO's code) if omitted. With
            fewer labelled cases, all of them count.
    """

    def __init__(self, k: int | None = None) -> None:
        super().__init__()
        if k is not None and k < 1:
            raise BraindinoError(f"k {k}: expected 1 or more.")
        self.k = k

    def solve(self, pooled: Tensor, target: Tensor, val: Tensor, val_target: Tensor) -> dict[str, Any]:
        """Set `layers`; return the result of `choose` for "k"."""
        onehot = functional.one_hot(target, len(self.classes)).float()
        options = NEIGHBOURS if self.k is None else (self.k,)
        allowed = sorted({min(k, len(pooled)) for k in options})
        candidates = ((k, Neighbours(pooled, onehot, k)) for k in allowed)
        return self.choose("k", candidates, val, val_target)

    def reserve(self, state: Mapping[str, Tensor]) -> None:
        """Give `layers` as many neighbours as there were labelled cases; see `ClosedForm.reserve`."""
        bank, onehot = state["layers.bank"], state["layers.onehot"]
        self.layers = Neighbours(torch.ones_like(bank), torch.ones_like(onehot), 1)


class Neighbours(nn.Module):
    """Logarithm of the share of each class among the nearest neighbours of a case.

    Args:
        bank: (N, width) pooled features of the labelled cases.
        onehot: (N, C) their classes.
        k: number of neighbours.
    """

    bank: Tensor
    onehot: Tensor
    k: Tensor

    def __init__(self, bank: Tensor, onehot: Tensor, k: int) -> None:
        super().__init__()
        self.register_buffer("bank", bank)
        self.register_buffer("onehot", onehot)
        self.register_buffer("k", torch.tensor(k))

    def forward(self, pooled: Tensor) -> Tensor:
        """Return logits (B, C) of features (B, width); log(1e-12) for a class without a vote."""
        bank, onehot, queries = (each.detach().cpu().numpy() for each in (self.bank, self.onehot, pooled))
        votes = torch.from_numpy(neighbour_mean(bank, onehot, queries, int(self.k)))
        return votes.clamp(min=1e-12).log().to(pooled.device)


def linear(coefficients: np.ndarray, bias: np.ndarray) -> nn.Module:
    """Return a linear layer with coefficients (outputs, width) and bias (outputs,)."""
    layer = nn.Linear(coefficients.shape[1], len(bias))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(coefficients))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def check_no_parameters(pooling: nn.Module) -> None:
    """Raise BraindinoError if a pooling, after `build`, has parameters to train."""
    if any(True for _ in pooling.parameters()):
        raise BraindinoError(
            f"{type(pooling).__name__} with these options has parameters to train, "
            "a closed-form head trains none.\n"
            "Use MeanPooling with fusion: mean, or a head that is trained by epochs."
        )
