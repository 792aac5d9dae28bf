"""Metrics of predictions, with confidence intervals from resampling people."""

from importlib import import_module
from typing import Any

# Names that this package had as a module, and their modules now; heads of users import them from here.
_FORMER_NAMES = {
    "auroc": "classification",
    "classification_metrics": "classification",
    "confusion_matrix": "classification",
    "regression_metrics": "regression",
}


def __getattr__(name: str) -> Any:
    """Import a name of the former module `metrics` on its first use."""
    if name not in _FORMER_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_FORMER_NAMES[name]}"), name)
