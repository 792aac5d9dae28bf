"""Every model against the same network without its training, as its probe measured it."""

from collections.abc import Mapping, Sequence
from typing import Any

from braindino.analysis.formatting import align_columns, format_interval, format_number, format_p_value
from braindino.analysis.metrics.headlines import heading
from braindino.analysis.runs import Run

UNTRAINED = "untrained_encoder"


def untrained_rows(sides: Mapping[str, Mapping[str, Run]]) -> list[dict[str, Any]]:
    """Return a row per model, task and label fraction whose run has an untrained twin beside it.

    Args:
        sides: name of the model -> task -> its run; runs without results.json are passed over.

    Returns:
        Dictionaries of `model`, `task`, `fraction`, `metric`, `heading`, `value`, `untrained` (the metric of
        both), `difference`, `low`, `high` and `p`.
    """
    rows = []
    for model, runs in sides.items():
        for task, run in runs.items():
            if not (run.path / "results.json").is_file():
                continue
            results = run.results
            twin = results["baselines"].get(UNTRAINED)
            for line in twin["advantage"] if twin else ():
                metric, fraction = line["metric"], line["fraction"]
                own, other = (_value(part["summary"], fraction, metric) for part in (results, twin))
                known = {"model": model, "task": task, "fraction": fraction, "metric": metric}
                known |= {"heading": heading(metric, results), "value": own, "untrained": other}
                numbers = {"difference": line["value"], "low": line["low"], "high": line["high"]}
                rows.append({**known, **numbers, "p": line.get("p")})
    return rows


def _value(summary: Sequence[Mapping[str, Any]], fraction: float, metric: str) -> float | None:
    (line,) = (line for line in summary if line["fraction"] == fraction)
    value: float | None = line["test"]["metrics"][metric]["value"]
    return value


def results_by_task(sides: Mapping[str, Mapping[str, Run]]) -> dict[str, Mapping[str, Any]]:
    """Return task -> results.json of the first model that has one."""
    found: dict[str, Mapping[str, Any]] = {}
    for runs in sides.values():
        for task, run in runs.items():
            if task not in found and (run.path / "results.json").is_file():
                found[task] = run.results
    return found


def untrained_text(rows: list[dict[str, Any]]) -> list[str]:
    """Return the rows as lines of a table for a terminal; nothing without rows."""
    if not rows:
        return []
    cells = [["model", "task", "labels", "metric", "trained", "untrained", "difference", "p"]]
    for row in rows:
        difference = format_interval({"value": row["difference"], "low": row["low"], "high": row["high"]})
        cells.append(
            [
                *(str(row["model"]), str(row["task"]), f"{row['fraction']:.0%}", row["heading"]),
                *(
                    format_number(row["value"]),
                    format_number(row["untrained"]),
                    difference,
                    format_p_value(row["p"]),
                ),
            ]
        )
    return [
        "Each against the same network untrained, as its own probe measured it:",
        "",
        *align_columns(cells),
        "",
    ]
