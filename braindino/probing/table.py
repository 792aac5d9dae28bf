"""Results of a study as text: a table, with details and notes."""

from typing import Any

from braindino.analysis.formatting import (
    align_columns,
    format_difference,
    format_interval,
    format_number,
)
from braindino.analysis.metrics.headlines import heading, shown_headlines
from braindino.analysis.report.notes import detail_notes, result_notes
from braindino.analysis.results import difference_name, line_at, probe_and_baselines


def results_table(results: dict[str, Any]) -> str:
    """Return a line per label fraction and model, then `detail_notes` and `result_notes`.

    A metric is shown as `0.871 [0.792, 0.943]`. Below each baseline is the difference of the probe to it.

    Args:
        results: result of `run_study`.
    """
    names = shown_headlines([results])
    over = "folds" if results["folds"] else "seeds"
    repeated = over == "folds" or max(len(line["seeds"]) for line in results["summary"]) > 1
    lines = [["labels", "model", *(f"test/{heading(name, results)}" for name in names)]]
    if repeated:
        lines[0].append(f"sd of {names[0]} over {over}")
    for summary in results["summary"]:
        labels = f"{summary['fraction']:.0%}"
        for model, part in probe_and_baselines(results).items():
            shown = line_at(part, summary["fraction"])
            if shown is None:
                continue
            metrics = shown["test"]["metrics"]
            spread = (shown["folds"] if over == "folds" else metrics)[names[0]]["sd"]
            cells = [format_interval(metrics[name]) for name in names]
            lines.append([labels, model, *cells, *([format_number(spread)] if repeated else [])])
            differences = {
                line["metric"]: line
                for line in part.get("advantage", ())
                if line["fraction"] == summary["fraction"]
            }
            if differences:
                cells = [format_difference(differences[n]) if n in differences else "" for n in names]
                spread = "" if over == "folds" else format_number(differences[names[0]].get("sd"))
                lines.append([labels, difference_name(model), *cells, *([spread] if repeated else [])])
    return "\n".join(align_columns(lines) + detail_notes(results) + result_notes(results))
