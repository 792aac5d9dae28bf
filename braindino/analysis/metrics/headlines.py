"""Define the headline metrics of each task; the first is the main one."""

from collections.abc import Mapping, Sequence
from typing import Any

HEADLINES = {
    "classification": ("auroc", "balanced_accuracy", "accuracy", "f1"),
    "regression": ("mae", "rmse", "r2", "pearson"),
    "survival": ("c_index", "c_index_ipcw", "integrated_brier", "td_auc"),
    "segmentation": ("dice", "hd95", "volume_error_ml"),
}
# Headlines of runs in which they were measured, which earlier versions did not.
LATER_HEADLINES = {"segmentation": ("nsd",)}
# Metrics that are compared besides the headlines, where they were measured.
COMPARED_TOO = {
    "segmentation": (
        *("nsd", "lesion_f1", "lesion_count_error", "rq", "sq", "pq"),
        *("case_specificity", "false_positive_ml"),
    )
}
LOWER_IS_BETTER = (
    *("mae", "rmse", "integrated_brier", "brier", "ece"),
    *("hd95", "volume_error_ml", "lesion_count_error", "false_positive_ml"),
)
UNITS = ("years", "months", "weeks", "days", "hours", "ml", "mm", "points")
AGE_TARGETS = ("age", "brain_age", "scan_age", "age_at_scan")
METRICS_IN_UNITS = ("mae", "rmse")  # in the unit of the target


def headlines(task: str, classes: Sequence[str]) -> tuple[str, ...]:
    """Return the headline metrics of a task.

    Args:
        task: kind of task.
        classes: names of the classes; of a segmentation the regions, whose Dice are headlines too.
    """
    if task != "segmentation" or len(classes) < 2:
        return HEADLINES[task]
    main, *further = HEADLINES[task]
    return (main, *(f"dice_{name}" for name in classes), *further)


def shown_headlines(studies: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the headline metrics of studies of one task, with those later ones that all of them have.

    `nsd` is among them if it was measured at one tolerance.

    Args:
        studies: contents of results.json, at least one.
    """
    task = studies[0]["task"]
    names = headlines(task, studies[0]["classes"])
    summaries = [
        line
        for results in studies
        for part in (results, *results["baselines"].values())
        for line in part["summary"]
    ]
    later = [
        name
        for name in LATER_HEADLINES.get(task, ())
        if all(name in line["test"]["metrics"] for line in summaries)
    ]
    if len({results.get("nsd_tolerance") for results in studies}) > 1:
        later = [name for name in later if name != "nsd"]
    overlap = [name for name in names if name.startswith(names[0])]
    return (*overlap, *later, *names[len(overlap) :])


def unit_of(target: Sequence[str]) -> str:
    """Return the unit of a target: years of an age, a unit at the end of its name, or nothing.

    Args:
        target: columns of the label; the first one counts.
    """
    name = target[0].lower() if target else ""
    if name in AGE_TARGETS:
        return "years"
    last = name.replace("-", "_").replace(" ", "_").rpartition("_")[2]
    return last if last in UNITS else ""


def heading(metric: str, results: Mapping[str, Any]) -> str:
    """Return a metric's name for a heading, with its unit: `mae (years)`, `hd95 (mm)`, `nsd (2 mm)`.

    Args:
        metric: its name.
        results: content of results.json; may be empty.
    """
    if metric == "nsd" and "nsd_tolerance" in results:
        return f"nsd ({results['nsd_tolerance']:g} mm)"
    if metric == "hd95":
        return "hd95 (mm)"
    unit = results.get("unit") or ""
    if results.get("task") != "regression" or not unit or metric not in METRICS_IN_UNITS:
        return metric
    return f"{metric} ({unit})"
