"""Former name of `braindino.probing.heads.closed_form`, for users' heads that import it."""

from braindino.probing.heads.closed_form import (
    ClosedForm,
    CoxNetHead,
    KNNHead,
    LogisticHead,
    RidgeHead,
    linear,
)

__all__ = ["ClosedForm", "CoxNetHead", "KNNHead", "LogisticHead", "RidgeHead", "linear"]
