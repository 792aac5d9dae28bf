"""Regression heads: a number by mean squared error, or a number of days by its logarithm."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from braindino.analysis.metrics.regression import regression_metrics
from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.probing.heads.base import Head, mlp


@stable_id("RegressionHead")
class RegressionHead(Head):
    """Predict a number such as the age, by the mean squared error of the standardised target.

    Mean and deviation of the target are those of the labelled training cases.
    """

    task = "regression"
    metric, mode = "mae", "min"
    mean: Tensor
    spread: Tensor

    def encode(self, cases: pd.DataFrame, classes: Sequence[str]) -> Tensor:
        """Return the targets (N,) in their unit."""
        if classes:
            raise BraindinoError(
                f"RegressionHead predicts numbers; the data has classes ({', '.join(classes)}).\n"
                "Use ClassificationHead."
            )
        self.check_single_target(cases)
        not_finite = cases[~np.isfinite(cases["target"].astype(float))]
        if len(not_finite):
            raise BraindinoError(
                f"case {not_finite['case'].iloc[0]}: the target is {not_finite['target'].iloc[0]}, "
                "expected a number."
            )
        return torch.tensor(cases["target"].to_numpy(dtype=np.float32))

    def build(self, width: int, train_target: Tensor, classes: Sequence[str]) -> None:
        """Initialise LayerNorm, Linear, GELU, Linear to one standardised number."""
        self.layers = mlp(width, 1, self.dropout)
        spread = train_target.std(correction=0)
        self.register_buffer("mean", train_target.mean())
        self.register_buffer("spread", spread if spread > 0 else torch.ones_like(spread))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean squared error in units of the training part's variance."""
        return functional.mse_loss(output.float().squeeze(-1), (target - self.mean) / self.spread)

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Return `mae`, `rmse`, `r2` and `pearson` in the unit of the target."""
        values = regression_metrics(target.cpu().numpy(), self.in_units(output))
        return {name: float(value[0]) for name, value in values.items()}

    def rows(self, output: Tensor, cases: pd.DataFrame) -> pd.DataFrame:
        """Return truth and prediction in the unit of the target."""
        return regression_rows(self.in_units(output), cases)

    def in_units(self, output: Tensor) -> np.ndarray:
        """Return the predictions (N,) in the unit of the target."""
        # On the host: accelerators without float64 exist.
        values = output.detach().cpu().double().squeeze(-1)
        return (values * self.spread.cpu() + self.mean.cpu()).numpy()


@stable_id("DaysHead")
class DaysHead(RegressionHead):
    """Predict a skewed number of days, by a mixed loss of log1p(days) (BrainDINO's code).

    The loss is 0.2 MSE + 0.8 (0.5 MAE + 0.5 Huber). The output is added to the mean of log1p(days) over the
    labelled cases. Metrics and predictions are in days; a prediction is never below 0.
    """

    unit = "days"

    def encode(self, cases: pd.DataFrame, classes: Sequence[str]) -> Tensor:
        """Return the days (N,)."""
        days = super().encode(cases, classes)
        if (days < 0).any():
            row = cases[(days < 0).numpy()].iloc[0]
            raise BraindinoError(f"case {row['case']}: {row['target']} days, expected 0 or more.")
        return days

    def build(self, width: int, train_target: Tensor, classes: Sequence[str]) -> None:
        """Initialise LayerNorm, Linear, GELU, Linear to one number, in units of log1p(days)."""
        self.layers = mlp(width, 1, self.dropout)
        self.register_buffer("mean", torch.log1p(train_target).mean())

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mixed loss; its Huber part changes from square to linear at 1."""
        guess, truth = output.float().squeeze(-1) + self.mean, torch.log1p(target)
        absolute = 0.5 * functional.l1_loss(guess, truth) + 0.5 * functional.huber_loss(guess, truth)
        return 0.2 * functional.mse_loss(guess, truth) + 0.8 * absolute

    def in_units(self, output: Tensor) -> np.ndarray:
        """Return the predictions (N,) in days."""
        logarithms = output.detach().cpu().double().squeeze(-1) + self.mean.cpu()
        return torch.expm1(logarithms.clamp(min=0)).numpy()


def regression_rows(prediction: np.ndarray, cases: pd.DataFrame) -> pd.DataFrame:
    """Return the columns `target` and `prediction` of predictions.csv.

    Args:
        prediction: (N,).
        cases: N cases with a number in the column `target`.
    """
    return pd.DataFrame({"target": cases["target"].to_numpy(dtype=np.float64), "prediction": prediction})
