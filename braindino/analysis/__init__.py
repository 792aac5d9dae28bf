"""Analyse predictions: metrics with intervals, comparisons, figures, reports; without torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braindino.analysis.metrics.classification import classification_metrics as classification_metrics
    from braindino.analysis.metrics.regression import regression_metrics as regression_metrics

__all__ = ["classification_metrics", "regression_metrics"]
# Public name -> module, imported on first use.
_NAMES = {
    "classification_metrics": "metrics.classification",
    "regression_metrics": "metrics.regression",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name in _NAMES:
        return getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
