"""Heads: from a pooled vector or a feature map to a prediction, its loss and its metrics."""

from importlib import import_module
from typing import Any

# Names that this package had as a module, and their places now; heads of users import them from here.
_FORMER_NAMES = {
    "ClassificationHead": "classification:ClassificationHead",
    "Head": "base:Head",
    "Recipe": "base:OptimizerDefaults",
    "RegressionHead": "regression:RegressionHead",
    "classification_rows": "classification:classification_rows",
    "mlp": "base:mlp",
    "regression_rows": "regression:regression_rows",
}


def __getattr__(name: str) -> Any:
    """Import a name of the former module `heads` on its first use."""
    if name not in _FORMER_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _FORMER_NAMES[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)
