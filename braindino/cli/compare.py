"""The verb `compare`: print the differences between encoders on the same test cases."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from braindino.verbs.compare import Comparison


def compare(
    *runs: Path,
    out: Path | None = None,
    pairs: Literal["first", "all"] = "first",
    resamples: int = 1000,
    seed: int = 0,
    jobs: int = 1,
) -> int:
    """Compare encoders by the predictions of their probes, on the test cases that both have.

    Differences are the first model less the other, of the mean over seeds, with 95 % intervals from
    resampling people. AUROC: DeLong, with a person's cases together. Accuracy: exact McNemar, on the mean
    probability over seeds, and permutation of people. Errors, Dice and the other measures of a mask (HD95,
    volume, lesions): Wilcoxon signed-rank and permutation. All other metrics, the C-index too: the bootstrap.
    Holm's correction is over tasks, label fractions and pairs. Pairs that share no label fraction, seed or
    test case are excluded and named; a model that the first has nothing in common with is compared with the
    next one that has. Test people whom an encoder has seen in pretraining are counted below the table, and
    each model is compared with the baselines of its probe: its untrained encoder, no_tokens and unet.

    Args:
        runs: run folders of `probe`, or folders of them. Tasks are matched by name; runs of one encoder are
            one model.
        out: folder for compare.csv and compare.json.
        pairs: every model against the first one, or all pairs.
        resamples: draws of people for the intervals.
        seed: seed of these draws and of the permutations.
        jobs: processes side by side; the numbers do not depend on it.

    Returns:
        0.
    """
    from braindino.analysis.comparison.controls import control_text
    from braindino.analysis.comparison.untrained import untrained_text
    from braindino.verbs.compare import compare as run

    comparison = run(runs, out, pairs=pairs, resamples=resamples, seed=seed, jobs=jobs)
    baselines = [*untrained_text(comparison.untrained), *control_text(comparison.controls)]
    print("\n".join([*_text(comparison), *comparison.leakage, *baselines]))
    if out is not None:
        print(f"wrote {out / 'compare.csv'} and compare.json")
    return 0


def _text(comparison: "Comparison") -> list[str]:
    """Return a block of lines per pair of models, a line per metric and test, then the notes."""
    from braindino.analysis.comparison.untrained import results_by_task
    from braindino.analysis.formatting import align_columns

    table, results = comparison.table, results_by_task(comparison.models)
    lines: list[str] = []
    for pair, rows in table.groupby(["first", "second"], sort=False):
        first, second = map(str, pair)
        header = ["task", "labels", "cases", "metric", first, second, "difference", "test", "p", "p (Holm)"]
        cells = [_cells(row, results.get(row["task"], {})) for row in rows.to_dict("records")]
        lines += [f"{first} less {second}:", "", *align_columns([header, *cells]), ""]
    intervals = "Means over seeds; intervals" if table["seeds"].max() > 1 else "Intervals"
    lines.append(f"{intervals} at 95 % from resampling people; Holm over tasks, label fractions and pairs.")
    if (table["people"] < table["cases"]).any() and (table["test"] == "McNemar").any():
        lines.append(
            "People have several cases: McNemar's test treats cases as independent, the others do not."
        )
    return lines + comparison.notes


def _cells(row: Mapping[Any, Any], results: Mapping[str, Any]) -> list[str]:
    """Return the cells of one metric and test.

    Args:
        row: row of the table of differences.
        results: results.json of a run of the task, for the unit of the metric; may be empty.
    """
    from braindino.analysis.formatting import format_interval, format_number, format_p_value
    from braindino.analysis.metrics.headlines import heading

    return [
        str(row["task"]),
        f"{row['fraction']:.0%}",
        f"{row['cases']}" if row["stratum"] == "all" else f"{row['cases']}, {row['stratum']}",
        heading(str(row["metric"]), results),
        format_number(row["value_first"]),
        format_number(row["value_second"]),
        format_interval({"value": row["difference"], "low": row["low"], "high": row["high"]}),
        str(row["test"]),
        format_p_value(row["p"]),
        format_p_value(row["p_holm"]),
    ]
