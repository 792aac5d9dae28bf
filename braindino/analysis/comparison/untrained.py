"""Tabulate each model against the same network without training, a baseline of its probe."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from braindino.analysis.comparison.controls import control_rows, difference_text
from braindino.analysis.runs import ModelRuns

UNTRAINED = "untrained_encoder"  # name of the baseline
COLUMNS = (
    *("model", "task", "fraction", "metric", "heading"),
    *("value", "untrained", "difference", "low", "high", "p"),
)


def untrained_rows(models: ModelRuns) -> list[dict[str, Any]]:
    """Return a row per model, task and label fraction that has an untrained baseline.

    Args:
        models: name of the model -> task -> its run; runs without results.json are skipped.

    Returns:
        Dictionaries of `model`, `task`, `fraction`, `metric`, `heading`, `value`, `untrained` (the metric of
        the model and of the baseline), `difference`, `low`, `high` and `p`.
    """
    rows = []
    for row in control_rows(models, (UNTRAINED,)):
        known = {**row, "untrained": row["baseline_value"]}
        rows.append({name: known[name] for name in COLUMNS})
    return rows


def results_by_task(models: ModelRuns) -> dict[str, Mapping[str, Any]]:
    """Return task -> results.json of the first model that has one.

    Args:
        models: name of the model -> task -> its run.
    """
    results: dict[str, Mapping[str, Any]] = {}
    for runs in models.values():
        for task, run in runs.items():
            if task not in results and run.has_results:
                results[task] = run.results
    return results


def untrained_text(table: pd.DataFrame) -> list[str]:
    """Return the lines of a table for a terminal; none without rows.

    Args:
        table: rows of `untrained_rows`, with `COLUMNS`.
    """
    return difference_text(
        table,
        "Each model against the same network without training, from the baselines of its probe:",
        {"trained": "value", "untrained": "untrained"},
    )
