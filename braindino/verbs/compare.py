"""Compare encoders by the predictions of their probes, paired on the same test cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from braindino.errors import BraindinoError
from braindino.verbs.opening import as_paths, check_at_least_one

if TYPE_CHECKING:
    import pandas as pd

    from braindino.analysis.runs import Run

MAX_REASONS = 3  # in the message of an error


@dataclass(frozen=True)
class Comparison:
    """The differences between models.

    Attributes:
        models: name of the model -> task -> its run.
        table: a row per task, label fraction, stratum, pair of models, metric and test. The columns are
            those of `braindino.analysis.comparison.compare_models.COLUMNS`.
        untrained: a row per model, task and label fraction whose probe has the same network without training
            as a baseline: `model`, `task`, `fraction`, `metric`, `heading`, `value`, `untrained`,
            `difference`, `low`, `high` and `p`.
        controls: a row per model, task, label fraction and baseline without an encoder (`no_tokens`, `unet`)
            of a segmentation: `baseline` and `baseline_value` instead of `untrained`, else the same columns.
        notes: sentences about the models, cases, seeds and label fractions that were excluded, and about
            runs of `fit` that were trained with different settings.
        leakage: sentences about people whom the encoders have seen in pretraining.
    """

    models: "dict[str, dict[str, Run]]"
    table: "pd.DataFrame"
    untrained: "pd.DataFrame"
    controls: "pd.DataFrame"
    notes: list[str]
    leakage: list[str]


def compare(
    runs: Sequence[Path | str] | Path | str,
    out: Path | str | None = None,
    *,
    pairs: Literal["first", "all"] = "first",
    resamples: int = 1000,
    seed: int = 0,
    jobs: int = 1,
    progress: bool = True,
) -> Comparison:
    """Compare encoders by the predictions of their probes, on the test cases that both have.

    Differences are the first model minus the other, of the mean over seeds, with 95 % intervals from
    resampling people. AUROC is tested by DeLong's test, with the cases of a person together; accuracy by
    McNemar's exact test and by permutation of people; errors, Dice and the other measures of a mask by
    Wilcoxon's signed-rank test and by permutation; all other metrics by the bootstrap. p values are adjusted
    by Holm over tasks, label fractions and pairs.

    Args:
        runs: run folders of `probe`, or folders of them. Tasks are matched by name; runs of one encoder are
            one model.
        out: folder to write compare.csv and compare.json to. If omitted, nothing is written.
        pairs: compare every model with the first one, or all pairs.
        resamples: draws of people for the intervals.
        seed: seed of the draws and of the permutations.
        jobs: number of processes; the numbers do not depend on it.
        progress: False shows no progress bar.

    Returns:
        The differences, and sentences about what was excluded.

    Raises:
        BraindinoError: a folder contains no finished run, a file of a run is damaged, there are fewer than
            two models, or no two models can be compared.
    """
    import pandas as pd

    from braindino.analysis.comparison.compare_models import compare_models
    from braindino.analysis.comparison.controls import COLUMNS as CONTROL_COLUMNS
    from braindino.analysis.comparison.controls import control_rows
    from braindino.analysis.comparison.untrained import COLUMNS, untrained_rows
    from braindino.analysis.leakage_notes import leakage_notes
    from braindino.analysis.runs import runs_by_model
    from braindino.parallel import parallel_map

    check_at_least_one(resamples=resamples, jobs=jobs)
    try:
        models = runs_by_model(as_paths(runs))
        if len(models) < 2:
            raise ValueError(f"one model only ({next(iter(models))}); give the runs of at least two")
        table, notes = compare_models(
            {name: {task: run.predictions for task, run in runs.items()} for name, runs in models.items()},
            pairs == "all",
            resamples=resamples,
            seed=seed,
            mapper=partial(parallel_map, jobs=jobs, unit="comparison", show=progress),
            stand_ins=True,
        )
        notes += _training_notes(models)
        untrained, controls = untrained_rows(models), control_rows(models)
        if table.empty:
            raise ValueError("; ".join(note.rstrip(".") for note in notes[:MAX_REASONS]))
        comparison = Comparison(
            models,
            table,
            pd.DataFrame(untrained, columns=list(COLUMNS)),
            pd.DataFrame(controls, columns=list(CONTROL_COLUMNS)),
            notes,
            leakage_notes(models),
        )
    except ValueError as error:
        raise BraindinoError(f"compare: {error}.") from None
    if out is not None:
        tables = {"untrained": untrained, "controls": controls}
        _write(Path(out), comparison, tables, resamples, seed)
    return comparison


def _training_notes(models: "dict[str, dict[str, Run]]") -> list[str]:
    """Return sentences about runs of `fit` that were trained differently than the first model's."""
    from braindino.training.run_identity import listed, training_differences

    notes = []
    names = list(models)
    for second in names[1:]:
        for task in [task for task in models[names[0]] if task in models[second]]:
            configs = models[names[0]][task].config, models[second][task].config
            if all(_is_fit(config) for config in configs) and (lines := training_differences(*configs)):
                notes.append(
                    f"{task}: {names[0]} and {second} were trained with different settings: {listed(lines)}."
                )
    return notes


def _is_fit(config: dict[str, Any]) -> bool:
    """Return whether a config is of `fit`; the settings of a probe may differ with its encoder."""
    model = config.get("model")
    return isinstance(model, dict) and "class_path" in model


def _write(
    out: Path,
    comparison: Comparison,
    tables: dict[str, list[dict[str, Any]]],
    resamples: int,
    seed: int,
) -> None:
    """Write compare.csv, and compare.json with the same rows and everything else."""
    from braindino.csv_text import csv_text
    from braindino.files import atomic_write, write_json

    with atomic_write(out / "compare.csv") as file:
        file.write(csv_text(comparison.table))
    rows = [
        {name: None if value != value else value for name, value in row.items()}
        for row in comparison.table.astype(object).to_dict("records")
    ]
    models = {
        name: {task: str(run.path) for task, run in tasks.items()}
        for name, tasks in comparison.models.items()
    }
    content: dict[str, object] = {
        "models": models,
        "resamples": resamples,
        "seed": seed,
        "left_out": comparison.notes,
        "leakage": comparison.leakage,
        **tables,
        "rows": rows,
    }
    write_json(out / "compare.json", content)
