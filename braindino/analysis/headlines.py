"""The metrics that tables and comparisons show of each task, the first being the one that decides."""

from collections.abc import Sequence

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
