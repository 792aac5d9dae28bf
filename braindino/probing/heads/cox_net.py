"""Cox regression with an elastic net (scikit-survival) whose penalty validation selects."""

from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from braindino.errors import BraindinoError
from braindino.probing.heads.survival import cox_loss

L1_RATIO = 0.5
# Weakest penalty, as a share of the one at which every coefficient is 0.
MIN_PENALTY = 0.01


class CoxNet(NamedTuple):
    """Fitted coefficients and their penalty.

    Attributes:
        coefficients: (F,) of the log relative hazard.
        alpha: the penalty; None if all features are constant.
    """

    coefficients: np.ndarray
    alpha: float | None


def fit_cox_net(x: np.ndarray, cases: pd.DataFrame, x_val: np.ndarray, val: pd.DataFrame) -> CoxNet:
    """Fit a path of penalties and return the fit with the lowest Cox loss on validation.

    Among equals the strongest penalty is selected. The C-index is no criterion: it does not depend on the
    size of the risks, which determines the calibration.

    Args:
        x: (N, F) features of the training cases.
        cases: the training cases, with `time` and `event`.
        x_val: (V, F) features of the validation cases.
        val: the validation cases, with `time` and `event`.

    Raises:
        BraindinoError: no training case has an event, or the regression does not converge.
    """
    from sksurv.linear_model import CoxnetSurvivalAnalysis
    from sksurv.util import Surv

    event = cases["event"].to_numpy() == 1
    if not event.any():
        raise BraindinoError(f"none of the {len(cases)} labelled cases has an event: use a larger fraction.")
    varies = np.ptp(x, axis=0) > 0
    coefficients = np.zeros(x.shape[1])
    if not varies.any():
        return CoxNet(coefficients, None)
    model = CoxnetSurvivalAnalysis(l1_ratio=L1_RATIO, n_alphas=50, alpha_min_ratio=MIN_PENALTY)
    known = Surv.from_arrays(event, cases["time"].to_numpy(dtype=np.float64))
    try:
        model.fit(x[:, varies], known)
    except (ValueError, ArithmeticError) as error:
        raise BraindinoError(f"Cox regression on {len(cases)} labelled cases failed: {error}.") from error
    time, observed = torch.tensor(val["time"].to_numpy()), torch.tensor(val["event"].to_numpy() == 1)
    risks = torch.tensor(x_val[:, varies] @ model.coef_)
    best = int(np.argmin([float(cox_loss(risk, time, observed)) for risk in risks.T]))
    coefficients[varies] = model.coef_[:, best]
    return CoxNet(coefficients, float(model.alphas_[best]))
