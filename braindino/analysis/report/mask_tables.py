"""Build the tables of a segmentation: every region, and cases whose true mask is empty."""

from collections.abc import Mapping
from typing import Any

from braindino.analysis.formatting import format_interval
from braindino.analysis.metrics.headlines import heading
from braindino.analysis.report.tables import Rows, Table
from braindino.analysis.runs import TaskRuns, first_test_results, largest_fraction_summary

# Metrics of the table of regions; earlier versions measured only some of them.
BY_REGION = (
    *("dice", "nsd", "hd95", "volume_error_ml"),
    *("lesion_f1", "lesion_count_error", "rq", "sq", "pq"),
)


def region_tables(runs: TaskRuns) -> list[Table]:
    """Return the table of all metrics of every region, if the task is a segmentation.

    Args:
        runs: name of the model -> its run of the task.
    """
    studies = [run.results for run in runs.values()]
    if studies[0]["task"] != "segmentation":
        return []
    regions = studies[0]["classes"]
    tests = {model: largest_fraction_summary(run)["test"] for model, run in runs.items()}
    names = [
        name
        for name in BY_REGION
        if any(f"{name}_{region}" in test["metrics"] for test in tests.values() for region in regions)
    ]
    # Tolerances that differ are given in the cells.
    common = len({study.get("nsd_tolerance") for study in studies}) == 1
    rows = Rows()
    for model, test in tests.items():
        tolerance = runs[model].results.get("nsd_tolerance")
        for region in regions:
            cells = [_cell(test, f"{name}_{region}") for name in names]
            if tolerance is not None and not common:
                index = names.index("nsd")
                cells[index] = f"{cells[index]} at {tolerance:g} mm"
            measured = [name for name in names if f"{name}_{region}" in test["metrics"]]
            keys = {"model": model, "region": region}
            numbers = [{**keys, "metric": name, **test["metrics"][f"{name}_{region}"]} for name in measured]
            rows.add([model, region, *cells], *numbers)
    titles = [heading(name, studies[0] if common else {}) for name in names]
    note = (
        "At the largest label fraction, mean over seeds. nsd: share of both surfaces within the tolerance. "
        "lesion_f1: a lesion is detected if one voxel overlaps; rq, sq, pq: lesions match if they share more "
        "than half of their union."
    )
    return [rows.table("Every region", ["model", "region", *titles], 2, note)]


def empty_tables(runs: TaskRuns) -> list[Table]:
    """Return the table of empty true and predicted masks, if the task is a segmentation.

    Args:
        runs: name of the model -> its run of the task.
    """
    rows = Rows()
    for model, run in runs.items():
        test = largest_fraction_summary(run)["test"]
        for region, counts in (first_test_results(run).get("empty") or {}).items():
            figures = [f"case_specificity_{region}", f"false_positive_ml_{region}"]
            cells = [model, region, *(str(count) for count in counts.values())]
            numbers = {name: test["metrics"][name]["value"] for name in figures if name in test["metrics"]}
            rows.add(
                [*cells, *(_cell(test, name) for name in figures)],
                {"model": model, "region": region, **counts}
                | {name.removesuffix(f"_{region}"): value for name, value in numbers.items()},
            )
    columns = [
        *("model", "region", "cases", "truth empty", "prediction empty", "both empty"),
        *("case specificity", "false-positive volume (ml)"),
    ]
    note = (
        "Dice and nsd are blank where the truth is empty, and 0 where only the prediction is; HD95 is blank "
        "where either is. Case specificity: share of the cases without the region whose prediction is empty "
        "too; false-positive volume: mean volume predicted in them."
    )
    return [rows.table("Empty masks", columns, 2, note)] if rows.cells else []


def _cell(test: Mapping[str, Any], name: str) -> str:
    """Return a metric with its interval or the reason why it is undefined; empty if it was not measured."""
    if name not in test["metrics"]:
        return ""
    return test.get("undefined", {}).get(name) or format_interval(test["metrics"][name])
