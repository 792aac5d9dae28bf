"""The verb `compare`: encoders against each other, paired, on the test cases that both have."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from braindino.errors import BraindinoError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

MOST_REASONS = 3  # why nothing can be compared, in one message


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
    probability over seeds, and permutation of people. Errors, Dice and all else that is measured of a mask
    (HD95, volume, lesions): Wilcoxon signed-rank and permutation. All others, the C-index too: the bootstrap.
    Holm's correction is over tasks, label fractions and pairs. Pairs that share no label fraction, seed or
    test case are left out and named; a model that the first has nothing in common with is compared with the
    next one that has. Test people whom an encoder has seen in pretraining are counted below the table.

    Args:
        runs: run folders of `probe`, or folders of them. Tasks are matched by name; runs of one encoder are
            one model.
        out: folder for compare.csv and compare.json.
        pairs: every model against the first one, or all pairs.
        resamples: draws of people for the intervals.
        seed: of these draws and of the permutations.
        jobs: processes side by side; the numbers do not depend on it.

    Returns:
        0.
    """
    from braindino.analysis.comparison.compare_models import compare_models
    from braindino.analysis.comparison.untrained import results_by_task, untrained_rows, untrained_text
    from braindino.analysis.report.leakage_notes import leakage_notes
    from braindino.analysis.runs import runs_by_model
    from braindino.parallel import parallel_map

    for name, value in (("resamples", resamples), ("jobs", jobs)):
        if value < 1:
            raise BraindinoError(f"--{name} {value}: expected 1 or more.")
    try:
        sides = runs_by_model(runs)
        if len(sides) < 2:
            raise ValueError(f"one model only ({next(iter(sides))}); give the runs of two at least")
        tables = {
            name: {task: run.predictions for task, run in found.items()} for name, found in sides.items()
        }
        table, said = compare_models(
            tables,
            pairs == "all",
            resamples=resamples,
            seed=seed,
            divide=partial(parallel_map, jobs=jobs, unit="comparison"),
            stand_ins=True,
        )
        twins, results = untrained_rows(sides), results_by_task(sides)
        if table.empty:
            raise ValueError("; ".join(line.rstrip(".") for line in said[:MOST_REASONS]))
        leaks = leakage_notes(sides)
    except ValueError as error:
        raise BraindinoError(f"compare: {error}.") from None
    print("\n".join([*text(table, said, results), *leaks, *untrained_text(twins)]))
    if out is not None:
        paths = {name: {task: str(run.path) for task, run in found.items()} for name, found in sides.items()}
        about: dict[str, object] = {"models": paths, "resamples": resamples, "seed": seed}
        _write(out, table, about | {"left_out": said, "leakage": leaks, "untrained": twins})
    return 0


def text(
    table: "pd.DataFrame", said: list[str], results: "Mapping[str, Mapping[str, Any]] | None" = None
) -> list[str]:
    """Return a block per pair of models, a line per metric and test, then what was left out.

    Args:
        table: of `compare_sides`.
        said: sentences about what was left out.
        results: task -> a run's results, whose unit belongs to the metrics.
    """
    from braindino.analysis.formatting import align_columns, format_interval, format_number, format_p_value
    from braindino.analysis.metrics.headlines import heading

    lines: list[str] = []
    for pair, rows in table.groupby(["first", "second"], sort=False):
        first, second = map(str, pair)
        lines += [f"{first} less {second}:", ""]
        cells: list[list[str]] = [
            ["task", "labels", "cases", "metric", first, second, "difference", "test", "p", "p (Holm)"]
        ]
        for row in rows.to_dict("records"):
            who = f"{row['cases']}" if row["stratum"] == "all" else f"{row['cases']}, {row['stratum']}"
            numbers = {"value": row["difference"], "low": row["low"], "high": row["high"]}
            cells.append(
                [
                    *(str(row["task"]), f"{row['fraction']:.0%}", who),
                    heading(str(row["metric"]), (results or {}).get(str(row["task"]), {})),
                    *(
                        format_number(row["value_first"]),
                        format_number(row["value_second"]),
                        format_interval(numbers),
                    ),
                    *(str(row["test"]), format_p_value(row["p"]), format_p_value(row["p_holm"])),
                ]
            )
        lines += [*align_columns(cells), ""]
    seeds, people = table["seeds"].max(), (table["people"] < table["cases"]).any()
    lines.append(
        ("Means over seeds; intervals" if seeds > 1 else "Intervals")
        + " at 95 % from resampling people; Holm over tasks, label fractions and pairs."
    )
    if people and (table["test"] == "McNemar").any():
        lines.append(
            "People have several cases: McNemar's test takes these for independent, the others do not."
        )
    return lines + said


def _write(out: Path, table: "pd.DataFrame", about: dict[str, object]) -> None:
    from braindino.csv_text import csv_text
    from braindino.files import atomic_write, write_json

    with atomic_write(out / "compare.csv") as file:
        file.write(csv_text(table))
    rows = [
        {name: None if value != value else value for name, value in row.items()}
        for row in table.astype(object).to_dict("records")
    ]
    write_json(out / "compare.json", {**about, "rows": rows})
    print(f"wrote {out / 'compare.csv'} and compare.json")
