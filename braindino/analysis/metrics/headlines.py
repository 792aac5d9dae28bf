"""The metrics that tables and comparisons show of each task, the first being the one that decides."""

from collections.abc import Mapping, Sequence
from typing import Any

HEADLINES = {
    "classification": ("auroc", "balanced_accuracy", "accuracy", "f1"),
    "regression": ("mae", "rmse", "r2", "pearson"),
    "survival": ("c_index", "c_index_ipcw", "integrated_brier", "td_auc"),
    "segmentation": ("dice", "hd95", "volume_error_ml"),
}
# What comparisons show besides, where it was measured.
COMPARED_TOO = {"segmentation": ("lesion_f1", "lesion_count_error")}
LOWER_IS_BETTER = (
    *("mae", "rmse", "integrated_brier", "brier", "ece"),
    *("hd95", "volume_error_ml", "lesion_count_error"),
)


def headlines(task: str, classes: Sequence[str]) -> tuple[str, ...]:
    """The metrics to show of a task with these classes (of a segmentation, regions: the Dice of each too)."""
    if task != "segmentation" or len(classes) < 2:
        return HEADLINES[task]
    first, *others = HEADLINES[task]
    return (first, *(f"dice_{name}" for name in classes), *others)


UNITS = ("years", "months", "weeks", "days", "hours", "ml", "mm", "points")
AGES = ("age", "brain_age", "scan_age", "age_at_scan")
IN_UNITS = ("mae", "rmse")


def unit_of(target: Sequence[str]) -> str:
    """Return the unit of a target by its name: `age` (years), or one that ends in a unit; "" without one."""
    name = target[0].lower() if target else ""
    if name in AGES:
        return "years"
    last = name.replace("-", "_").replace(" ", "_").rpartition("_")[2]
    return last if last in UNITS else ""


def heading(metric: str, results: Mapping[str, Any]) -> str:
    """Return a metric's name for a heading, with the target's unit where it has that: `mae (years)`."""
    unit = results.get("unit") or ""
    if results.get("task") != "regression" or not unit or metric not in IN_UNITS:
        return metric
    return f"{metric} ({unit})"
