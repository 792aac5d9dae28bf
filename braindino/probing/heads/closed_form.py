"""Heads without epochs: logistic, ridge and Cox regression, nearest neighbours; tuned on validation."""

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
from braindino.probing.heads.base import ClassificationHead, Head, RegressionHead
from braindino.probing.heads.cox_net import fit_cox_net
from braindino.probing.heads.survival import SurvivalHead

STRENGTHS = tuple(10.0**power for power in range(-3, 5))


class ClosedForm(Head):
    """A head that is solved on pooled features, and needs a pooling without parameters.

    Its one option, unless given, is the best on validation: by the head's metric, of equals by the loss. The
    probe's learning rate, batch size and epochs do not concern it.
    """

    @abstractmethod
    def solve(self, pooled: Tensor, target: Tensor, val: Tensor, val_target: Tensor) -> dict[str, Any]:
        """Set `layers` by the labelled cases; returns what was chosen on validation.

        Args:
            pooled, val: (N, width) and (V, width) pooled features. target, val_target: encoded.
        """

    def reserve(self, state: Mapping[str, Tensor]) -> None:
        """Give `layers` the shapes of a solved head's `state_dict()`, so that it can be loaded."""
        outputs, width = state["layers.weight"].shape
        self.layers = nn.Linear(width, outputs)

    def choose(
        self, name: str, candidates: Iterable[tuple[float, nn.Module]], val: Tensor, target: Tensor
    ) -> dict[str, Any]:
        """Keep as `layers` the candidate that is best on validation, the first of equals.

        Returns:
            {name: its option}; of several candidates also {"val/<metric>": {option: value, or None}}.
        """
        sign = 1.0 if self.mode == "max" else -1.0
        best, chosen, kept = (-math.inf, -math.inf), math.nan, None
        tried: dict[str, float | None] = {}
        for option, layers in candidates:
            self.layers = layers
            with torch.inference_mode():
                output = self(val)
                quality = self.metrics(output, target)[self.metric]
                score = (0.0 if math.isnan(quality) else sign * quality, -float(self.loss(output, target)))
            tried[f"{option:g}"] = None if math.isnan(quality) else quality
            if kept is None or score > best:
                best, chosen, kept = score, option, layers
        assert kept is not None
        self.layers = kept
        return {name: chosen, **({f"val/{self.metric}": tried} if len(tried) > 1 else {})}


@stable_id("LogisticHead")
class LogisticHead(ClosedForm, ClassificationHead):
    """Multinomial logistic regression (scikit-learn), L2 penalty.

    Args:
        strength: of the penalty, 1 / C; chosen from 0.001 to 10,000 if omitted.
        class_weights: see `ClassificationHead`.
    """

    def __init__(
        self, strength: float | None = None, class_weights: Literal["balanced"] | list[float] | None = None
    ) -> None:
        super().__init__(class_weights)
        self.strength = strength

    def solve(self, pooled: Tensor, target: Tensor, val: Tensor, val_target: Tensor) -> dict[str, Any]:
        """See `ClosedForm`; `choose` of "strength"."""
        x, y = pooled.double().numpy(), target.numpy()
        present = np.unique(y)
        if len(present) < 2:
            raise BraindinoError("the labelled cases are of one class: use a larger fraction.")
        weight = None if self.weight is None else {int(k): float(self.weight[k]) for k in present}

        def fit(strength: float) -> nn.Module:
            found = LogisticRegression(C=1 / strength, max_iter=5000, class_weight=weight).fit(x, y)
            coefficients = np.zeros((len(self.classes), x.shape[1]))
            bias = np.full(len(self.classes), -30.0)  # a class without a case: as good as impossible
            rows = present[1:] if len(present) == 2 else present
            bias[present] = 0.0
            coefficients[rows], bias[rows] = found.coef_, found.intercept_
            return linear(coefficients, bias)

        options = STRENGTHS if self.strength is None else (self.strength,)
        return self.choose("strength", ((s, fit(s)) for s in reversed(options)), val, val_target)


@stable_id("RidgeHead")
class RidgeHead(ClosedForm, RegressionHead):
    """Ridge regression (scikit-learn) of the standardised target.

    Args:
        strength: of the penalty; chosen from 0.001 to 10,000 if omitted.
    """

    def __init__(self, strength: float | None = None) -> None:
        super().__init__()
        self.strength = strength

    def solve(self, pooled: Tensor, target: Tensor, val: Tensor, val_target: Tensor) -> dict[str, Any]:
        """See `ClosedForm`; `choose` of "strength"."""
        x, y = pooled.double().numpy(), ((target - self.mean) / self.spread).double().numpy()

        def fit(strength: float) -> nn.Module:
            found = Ridge(alpha=strength).fit(x, y)
            return linear(found.coef_[None], np.array([found.intercept_]))

        options = STRENGTHS if self.strength is None else (self.strength,)
        return self.choose("strength", ((s, fit(s)) for s in reversed(options)), val, val_target)


@stable_id("CoxNetHead")
class CoxNetHead(ClosedForm, SurvivalHead):
    """Cox regression with an elastic net (scikit-survival); the penalty has the lowest loss on validation."""

    def __init__(self) -> None:
        super().__init__()

    def solve(self, pooled: Tensor, target: Tensor, val: Tensor, val_target: Tensor) -> dict[str, Any]:
        """See `ClosedForm`; {"alpha"}."""
        tables = [pd.DataFrame(part.numpy(), columns=["time", "event"]) for part in (target, val_target)]
        found = fit_cox_net(pooled.double().numpy(), tables[0], val.double().numpy(), tables[1])
        self.layers = linear(found.coefficients[None], np.zeros(1))
        return {"alpha": found.alpha}


@stable_id("KNNHead")
class KNNHead(ClosedForm, ClassificationHead):
    """The share of each class among the k labelled cases with the highest cosine similarity.

    Args:
        k: neighbours; chosen from 1, 3, 5, 10, 20 and 50 (BrainDINO's code) if omitted. Where fewer cases are
            labelled all of them count.
    """

    def __init__(self, k: int | None = None) -> None:
        super().__init__()
        if k is not None and k < 1:
            raise BraindinoError(f"k {k}: expected 1 or more.")
        self.k = k

    def solve(self, pooled: Tensor, target: Tensor, val: Tensor, val_target: Tensor) -> dict[str, Any]:
        """See `ClosedForm`; `choose` of "k"."""
        onehot = functional.one_hot(target, len(self.classes)).float()
        options = NEIGHBOURS if self.k is None else (self.k,)
        allowed = sorted({min(k, len(pooled)) for k in options})
        candidates = ((k, Neighbours(pooled, onehot, k)) for k in allowed)
        return self.choose("k", candidates, val, val_target)

    def reserve(self, state: Mapping[str, Tensor]) -> None:
        """See `ClosedForm.reserve`: as many neighbours as there were labelled cases."""
        bank, onehot = state["layers.bank"], state["layers.onehot"]
        self.layers = Neighbours(torch.ones_like(bank), torch.ones_like(onehot), 1)


class Neighbours(nn.Module):
    """log of the share of each class among the `k` nearest of `bank` (N, width) with `onehot` (N, C)."""

    bank: Tensor
    onehot: Tensor
    k: Tensor

    def __init__(self, bank: Tensor, onehot: Tensor, k: int) -> None:
        super().__init__()
        self.register_buffer("bank", bank)
        self.register_buffer("onehot", onehot)
        self.register_buffer("k", torch.tensor(k))

    def forward(self, pooled: Tensor) -> Tensor:
        """(B, width) -> (B, C); a class without a vote has log(1e-12)."""
        given = (self.bank, self.onehot, pooled)
        bank, onehot, queries = (part.detach().cpu().numpy() for part in given)
        votes = torch.from_numpy(neighbour_mean(bank, onehot, queries, int(self.k)))
        return votes.clamp(min=1e-12).log().to(pooled.device)


def linear(coefficients: np.ndarray, bias: np.ndarray) -> nn.Module:
    """A layer of given coefficients (outputs, width) and bias (outputs,)."""
    layer = nn.Linear(coefficients.shape[1], len(bias))
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(coefficients))
        layer.bias.copy_(torch.from_numpy(bias))
    return layer


def parameters_free(pooling: nn.Module) -> None:
    """Raise BraindinoError if a (built) pooling would have to be trained."""
    if any(True for _ in pooling.parameters()):
        raise BraindinoError(
            f"{type(pooling).__name__} with these options has parameters to train, "
            "a closed-form head trains none.\n"
            "Use MeanPooling with fusion: mean, or a head that is trained by epochs."
        )
