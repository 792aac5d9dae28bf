"""The table of a bench: every encoder on every task, and how it differs from the first one."""

from typing import Any

import pandas as pd

from braindino.analysis.comparison.compare_models import compare_models
from braindino.analysis.formatting import align_columns, format_interval, format_number, format_p_value
from braindino.analysis.mapping import Mapper
from braindino.analysis.metrics.headlines import headlines
from braindino.analysis.report.leakage_notes import leakage_notes
from braindino.analysis.runs import Run
from braindino.cli.bench.plan import Study

COLUMNS = (
    *("task", "fraction", "encoder", "metric", "value", "low", "high", "sd", "seeds"),
    *("difference", "difference_low", "difference_high", "p", "p_holm"),
    *("seen_in_pretraining", "seen_in_test"),  # people; blank where the encoder does not record them
)


def bench_table(
    studies: list[Study], resamples: int, divide: Mapper
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """The main metric of every finished study at every label fraction, and how the first encoder differs.

    Args:
        studies: in the order of the table; the first one's encoder is what the others are compared with.
        resamples: draws of people for the intervals of the differences.
        divide: how the comparisons are gone through; see `compare_models`.

    Returns:
        The table, with `COLUMNS`; all comparisons (`compare_models`); sentences about what was left out, and
        about leakage.
    """
    finished = [study for study in studies if (study.folder / "results.json").is_file()]
    sides: dict[str, dict[str, Run]] = {study.encoder: {} for study in studies}
    for study in finished:
        sides[study.encoder][study.task] = Run(study.folder)
    first = studies[0].encoder
    predictions = {
        name: {task: run.predictions for task, run in runs.items()} for name, runs in sides.items()
    }
    others = [name for name in sides if name != first and set(sides[name]) & set(sides[first])]
    compared = pd.DataFrame()
    said: list[str] = []
    if others:
        compared, said = compare_models(
            {name: predictions[name] for name in (first, *others)}, resamples=resamples, mapper=divide
        )
    rows = [row for study in finished for row in _rows(study, compared)]
    said = [*said, *leakage_notes({name: runs for name, runs in sides.items() if runs})]
    return pd.DataFrame(rows, columns=list(COLUMNS)), compared, said


def text(table: pd.DataFrame, first: str) -> list[str]:
    """For people."""
    lines = [["task", "labels", "encoder", "metric", "mean over seeds", "sd", f"{first} less it", "p (Holm)"]]
    for row in table.to_dict("records"):
        difference = {
            "value": row["difference"],
            "low": row["difference_low"],
            "high": row["difference_high"],
        }
        lines.append(
            [
                *(str(row["task"]), f"{row['fraction']:.0%}", str(row["encoder"]), str(row["metric"])),
                *(format_interval({str(key): value for key, value in row.items()}), format_number(row["sd"])),
                "" if row["encoder"] == first or pd.isna(row["difference"]) else format_interval(difference),
                format_p_value(row["p_holm"]),
            ]
        )
    return align_columns(lines)


def _rows(study: Study, compared: pd.DataFrame) -> list[dict[str, Any]]:
    results = Run(study.folder).results
    metric = headlines(results["task"], results["classes"])[0]
    rows = []
    for line in results["summary"]:
        known = {"task": study.task, "fraction": line["fraction"], "encoder": study.encoder, "metric": metric}
        row: dict[str, Any] = {**known, **line["test"]["metrics"][metric], "seeds": len(line["seeds"])}
        if (seen := results["audit"]["pretraining"]) is not None:
            row |= {"seen_in_pretraining": seen["people"], "seen_in_test": seen["test"]}
        if not compared.empty:
            chosen = compared[
                (compared["task"] == study.task)
                & (compared["fraction"] == line["fraction"])
                & (compared["second"] == study.encoder)
                & (compared["family"] == "main test")
            ]
            for found in chosen.to_dict("records"):
                row |= {
                    "difference": found["difference"],
                    "difference_low": found["low"],
                    "difference_high": found["high"],
                    "p": found["p"],
                    "p_holm": found["p_holm"],
                }
        rows.append(row)
    return rows
