"""Days since a stroke: learnt as log1p(days) with a mixed loss, reported in days."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.probing.heads.base import RegressionHead, mlp


@stable_id("DaysHead")
class DaysHead(RegressionHead):
    """A skewed number of days: 0.2 MSE + 0.8 (0.5 MAE + 0.5 Huber) of log1p(days) (BrainDINO's code).

    The output is added to the mean of log1p(days) over the labelled cases. Metrics and predictions are in
    days; a prediction is never below 0.
    """

    unit = "days"

    def encode(self, cases: pd.DataFrame, classes: Sequence[str]) -> Tensor:
        """(N,) days."""
        days = super().encode(cases, classes)
        if (days < 0).any():
            row = cases[(days < 0).numpy()].iloc[0]
            raise BraindinoError(f"case {row['case']}: {row['target']} days, expected 0 or more.")
        return days

    def build(self, width: int, train_target: Tensor, classes: Sequence[str]) -> None:
        """LayerNorm, Linear, GELU, Linear to one number, in units of log1p(days)."""
        self.layers = mlp(width, 1, self.dropout)
        self.register_buffer("mean", torch.log1p(train_target).mean())

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The mixed loss; Huber's changes from square to line at 1."""
        guess, truth = output.float().squeeze(-1) + self.mean, torch.log1p(target)
        absolute = 0.5 * functional.l1_loss(guess, truth) + 0.5 * functional.huber_loss(guess, truth)
        return 0.2 * functional.mse_loss(guess, truth) + 0.8 * absolute

    def in_units(self, output: Tensor) -> np.ndarray:
        """(N,) days."""
        return torch.expm1(
            (output.detach().cpu().double().squeeze(-1) + self.mean.cpu()).clamp(min=0)
        ).numpy()
