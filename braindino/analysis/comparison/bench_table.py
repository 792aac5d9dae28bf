"""Tabulate every encoder of a bench on every task, and its difference to the first one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from braindino.analysis.comparison import controls
from braindino.analysis.comparison.compare_models import compare_models
from braindino.analysis.comparison.controls import WITHOUT_ENCODER, control_rows
from braindino.analysis.comparison.untrained import UNTRAINED
from braindino.analysis.formatting import align_columns, format_interval, format_number, format_p_value
from braindino.analysis.leakage_notes import leakage_notes
from braindino.analysis.mapping import Mapper
from braindino.analysis.metrics.headlines import headlines
from braindino.analysis.runs import Run

# Baselines with a table of their own.
CONTROLS = (UNTRAINED, *WITHOUT_ENCODER)
COLUMNS = (
    *("task", "fraction", "encoder", "metric", "value", "low", "high", "sd", "seeds"),
    *("difference", "difference_low", "difference_high", "p", "p_holm"),
    # Numbers of people; blank if the encoder does not record its pretraining.
    *("seen_in_pretraining", "seen_in_test"),
)


class BenchRun(NamedTuple):
    """A study of a bench.

    Attributes:
        task: name of the task.
        encoder: name of the encoder.
        folder: run folder.
    """

    task: str
    encoder: str
    folder: Path


def bench_table(
    studies: Sequence[BenchRun], resamples: int, mapper: Mapper
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return the main metric of every finished study, and its difference to the first encoder.

    Args:
        studies: studies in the order of the table; the encoder of the first is the reference.
        resamples: draws of people for the intervals of the differences.
        mapper: computes the comparisons; see `Mapper`.

    Returns:
        The table, with `COLUMNS`; all comparisons (`compare_models`); notes on excluded comparisons and on
        leakage.
    """
    finished = [study for study in studies if (study.folder / "results.json").is_file()]
    models: dict[str, dict[str, Run]] = {study.encoder: {} for study in studies}
    for study in finished:
        models[study.encoder][study.task] = Run(study.folder)
    first = studies[0].encoder
    predictions = {
        name: {task: run.predictions for task, run in runs.items()} for name, runs in models.items()
    }
    compared_with = [name for name in models if name != first and set(models[name]) & set(models[first])]
    comparisons = pd.DataFrame()
    notes: list[str] = []
    if compared_with:
        comparisons, notes = compare_models(
            {name: predictions[name] for name in (first, *compared_with)}, resamples=resamples, mapper=mapper
        )
    rows = [row for study in finished for row in _rows(study, comparisons)]
    notes = [*notes, *leakage_notes({name: runs for name, runs in models.items() if runs})]
    return pd.DataFrame(rows, columns=list(COLUMNS)), comparisons, notes


def bench_controls(studies: Sequence[BenchRun]) -> pd.DataFrame:
    """Return the differences of every finished study to its baselines without an encoder, and its twin.

    Args:
        studies: studies in the order of the table.

    Returns:
        Rows of `control_rows` with the columns `controls.COLUMNS`; empty if no study has such baselines.
    """
    rows = [
        row
        for study in studies
        if (study.folder / "results.json").is_file()
        for row in control_rows({study.encoder: {study.task: Run(study.folder)}}, CONTROLS)
    ]
    return pd.DataFrame(rows, columns=list(controls.COLUMNS))


def format_bench_table(table: pd.DataFrame, first: str) -> list[str]:
    """Return a table as aligned lines.

    Args:
        table: table with `COLUMNS`.
        first: name of the reference encoder.
    """
    lines = [["task", "labels", "encoder", "metric", "mean over seeds", "sd", f"{first} less it", "p (Holm)"]]
    for row in table.to_dict("records"):
        has_difference = row["encoder"] != first and not pd.isna(row["difference"])
        difference = {
            "value": row["difference"],
            "low": row["difference_low"],
            "high": row["difference_high"],
        }
        lines.append(
            [
                str(row["task"]),
                f"{row['fraction']:.0%}",
                str(row["encoder"]),
                str(row["metric"]),
                format_interval({str(key): value for key, value in row.items()}),
                format_number(row["sd"]),
                format_interval(difference) if has_difference else "",
                format_p_value(row["p_holm"]),
            ]
        )
    return align_columns(lines)


def _rows(study: BenchRun, comparisons: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a row per label fraction of a study."""
    results = Run(study.folder).results
    metric = headlines(results["task"], results["classes"])[0]
    rows = []
    for line in results["summary"]:
        row: dict[str, Any] = {
            "task": study.task,
            "fraction": line["fraction"],
            "encoder": study.encoder,
            "metric": metric,
            **line["test"]["metrics"][metric],
            "seeds": len(line["seeds"]),
        }
        if (seen := results["audit"]["pretraining"]) is not None:
            row |= {"seen_in_pretraining": seen["people"], "seen_in_test": seen["test"]}
        rows.append(row | _difference(study, line["fraction"], comparisons))
    return rows


def _difference(study: BenchRun, fraction: float, comparisons: pd.DataFrame) -> dict[str, Any]:
    """Return the columns of the difference to the first encoder; empty without a comparison."""
    if comparisons.empty:
        return {}
    chosen = comparisons[
        (comparisons["task"] == study.task)
        & (comparisons["fraction"] == fraction)
        & (comparisons["second"] == study.encoder)
        & (comparisons["family"] == "main test")
    ]
    columns: dict[str, Any] = {}
    for comparison in chosen.to_dict("records"):
        columns = {
            "difference": comparison["difference"],
            "difference_low": comparison["low"],
            "difference_high": comparison["high"],
            "p": comparison["p"],
            "p_holm": comparison["p_holm"],
        }
    return columns
