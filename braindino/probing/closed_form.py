"""Former name of `braindino.probing.heads.closed_form`, for heads of users."""

from braindino.probing.heads.closed_form import (
    ClosedForm,
    CoxNetHead,
    KNNHead,
    LogisticHead,
    RidgeHead,
    linear,
)

__all__ = ["ClosedForm", "CoxNetHead", "KNNHead", "LogisticHead", "RidgeHead", "linear"]
