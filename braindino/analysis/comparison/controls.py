"""Tabulate each model against the baselines of its probe, in the main metric of the task."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from braindino.analysis.formatting import (
    align_columns,
    format_difference,
    format_number,
    format_p_value,
)
from braindino.analysis.metrics.headlines import HEADLINES, heading
from braindino.analysis.runs import Run

# Baselines of a segmentation that use no encoder.
WITHOUT_ENCODER = ("no_tokens", "unet")
COLUMNS = (
    *("model", "task", "baseline", "fraction", "metric", "heading"),
    *("value", "baseline_value", "difference", "low", "high", "p"),
)


def control_rows(
    models: Mapping[str, Mapping[str, Run]], names: Sequence[str] = WITHOUT_ENCODER
) -> list[dict[str, Any]]:
    """Return a row per model, task, baseline and label fraction.

    Args:
        models: name of the model -> task -> its run; runs without results.json are skipped.
        names: names of the baselines; runs without them are skipped.

    Returns:
        Dictionaries of `COLUMNS`: `value` and `baseline_value` are the metric of the model and of the
        baseline, `difference` is the model minus the baseline, paired by people.
    """
    runs = [(model, task, run) for model, tasks in models.items() for task, run in tasks.items()]
    return [
        {"model": model, "task": task, "baseline": name, **row}
        for model, task, run in runs
        if run.has_results
        for name in names
        if name in run.results["baselines"]
        for row in _rows(run.results, name)
    ]


def _rows(results: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the differences of a study to a baseline, one per label fraction."""
    baseline, metric = results["baselines"][name], HEADLINES[results["task"]][0]
    return [
        {
            "fraction": line["fraction"],
            "metric": metric,
            "heading": heading(metric, results),
            "value": _value(results["summary"], line["fraction"], metric),
            "baseline_value": _value(baseline["summary"], line["fraction"], metric),
            "difference": line["value"],
            "low": line["low"],
            "high": line["high"],
            "p": line.get("p"),
        }
        for line in baseline["advantage"]
        if line["metric"] == metric
    ]


def _value(summary: Sequence[Mapping[str, Any]], fraction: float, metric: str) -> float | None:
    (line,) = (line for line in summary if line["fraction"] == fraction)
    value: float | None = line["test"]["metrics"][metric]["value"]
    return value


def control_text(table: pd.DataFrame) -> list[str]:
    """Return the lines of a table for a terminal; none without rows.

    Args:
        table: rows of `control_rows`, with `COLUMNS`.
    """
    return difference_text(
        table,
        "Each model against the baselines of its probe:",
        {"baseline": "baseline", "probe": "value", "less": "baseline_value"},
    )


def difference_text(table: pd.DataFrame, title: str, columns: Mapping[str, str]) -> list[str]:
    """Return the lines of a table of differences for a terminal; none without rows.

    Args:
        table: rows with `model`, `task`, `fraction`, `heading`, `difference`, `low`, `high` and `p`.
        title: line above the table.
        columns: heading -> column of the table, between metric and difference; numbers or text.
    """
    if table.empty:
        return []
    cells = [["model", "task", "labels", "metric", *columns, "difference", "p"]]
    for row in table.to_dict("records"):
        values = [row[name] for name in columns.values()]
        cells.append(
            [
                *(str(row["model"]), str(row["task"]), f"{row['fraction']:.0%}", str(row["heading"])),
                *(value if isinstance(value, str) else format_number(value) for value in values),
                format_difference({"value": row["difference"], "low": row["low"], "high": row["high"]}),
                format_p_value(row["p"]),
            ]
        )
    return [title, "", *align_columns(cells), ""]
