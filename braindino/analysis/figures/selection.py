"""Which figures a task has, and what of its runs goes into them."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from braindino.analysis.figures import classification as of_classes
from braindino.analysis.figures import outcomes as of_outcomes
from braindino.analysis.figures.maps import map_montage
from braindino.analysis.figures.slices import views_of_arrays
from braindino.analysis.figures.style import svg
from braindino.analysis.metrics.headlines import headlines, unit_of
from braindino.analysis.report.pseudonyms import Disguise
from braindino.analysis.report.tables import Runs, last_line, tested
from braindino.analysis.runs import Run

MOST_PANELS = 4  # models beside each other
# Of `data`, what may differ between runs of one model at different label fractions.
OF_A_FRACTION = ("fraction", "batch_size", "steps_per_epoch", "num_workers", "jobs")


class Figure(NamedTuple):
    """`source`: of an <img>, or nothing; `told`: the sentence below it."""

    title: str
    source: str
    told: str


def figures_of(runs: Runs, disguise: Disguise) -> list[Figure]:
    """The figures of one task, in order; cases have the names that `disguise` gives them."""
    results = next(iter(runs.values())).results
    found = _fractions(runs)
    tests = {name: tests_of(run) for name, run in runs.items()}
    few = dict(list(tests.items())[:MOST_PANELS])
    unit = results.get("unit") or unit_of(results["target"])
    if results["task"] == "classification":
        classes = results["classes"]
        found += [
            Figure(
                "Calibration",
                of_classes.calibration_figure(tests),
                "Answers of all seeds in ten bins; the area of a point is their number.",
            ),
            Figure(
                "ROC curves",
                of_classes.roc_figure(tests),
                "Mean over seeds (thin: each seed), and the mean AUROC over seeds, as in the table.",
            ),
            Figure(
                "Confusion",
                of_classes.confusion_figure(
                    {name: np.mean(_confusions(runs[name]), axis=0) for name in few}, classes
                ),
                "Shares of the true class, and cases (mean over seeds).",
            ),
        ]
    if results["task"] == "regression":
        lines = {name: bias_line(runs[name]) for name in few}
        found.append(
            Figure(
                "Prediction by truth",
                of_outcomes.scatter_figure(few, lines, unit),
                "Test cases, mean over seeds. The bias line is that of predictions by truth on validation.",
            )
        )
    if results["task"] == "survival":
        curves = {name: tested(run)["kaplan_meier"] for name, run in list(runs.items())[:MOST_PANELS]}
        found.append(
            Figure(
                "Kaplan-Meier curves",
                of_outcomes.kaplan_meier_figure(curves, unit),
                "Test cases of the first seed, above and up to the median risk of its training cases.",
            )
        )
    if results["task"] == "segmentation":
        found.append(
            Figure(
                "Dice of every case",
                of_outcomes.dice_figure(tests),
                "Test cases, mean over seeds; median, quartiles, and whiskers to 1.5 interquartile ranges.",
            )
        )
        found += _examples(runs, disguise)
    return found + _patches(runs)


@contextmanager
def arrays_of(run: Run, path: Path) -> Iterator[dict[str, np.ndarray]]:
    """The arrays in an .npz of a run; whatever does not fit together is a ValueError that names the file."""
    file = run.file(str(path.relative_to(run.path)))
    try:
        with np.load(file, allow_pickle=False) as kept:
            arrays = dict(kept)
        yield arrays
    except (ValueError, KeyError, IndexError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{file}: damaged ({type(error).__name__}: {error}); remove it and run the same probe again"
        ) from error


def _patches(runs: Runs) -> list[Figure]:
    """Patch tokens of test scans in colours, of each encoder that has them."""
    found = []
    for name, run in runs.items():
        if not (run.path / "patches.npz").is_file():
            continue
        with arrays_of(run, run.path / "patches.npz") as kept:
            drawn = map_montage(
                kept["image"].astype(np.float32),
                [("patch tokens", kept["colours"].astype(np.float32))],
                kept["held"],
                list(kept["slice"]),
                "",
                views=views_of_arrays(kept, len(kept["image"])),
            )
        told = (
            "The middle slice of some test cases, and the first three principal components of the encoder's "
            "patch tokens as colours: equal colours are equal features."
        )
        found.append(Figure(f"PCA maps, {name}", svg(drawn), told))
    return found


def _examples(runs: Runs, disguise: Disguise) -> list[Figure]:
    """Best, median and worst case of each model, or a sentence in their place."""
    found = []
    for name, run in runs.items():
        line = last_line(run)
        cell = f"cells/seed{line['seeds'][0]}_fraction{line['fraction']}*/examples.npz"
        files = sorted(run.path.glob(cell))
        if not files:
            found.append(Figure(f"Examples, {name}", "", "The run keeps no slices of test cases to show."))
            continue
        with arrays_of(run, files[0]) as examples:
            cases = [disguise.person(str(case)) for case in examples["case"]]
            drawn = of_outcomes.examples_figure({**examples, "case": cases})
        told = "Test cases of the first seed by mean Dice, at the slice where truth and answer are largest."
        found.append(Figure(f"Best, median and worst case, {name}", drawn, told))
    return found


def tests_of(run: Run) -> list[pd.DataFrame]:
    """Test rows at the largest label fraction, a table per seed."""
    table = run.predictions
    chosen = table[(table["split"] == "test") & (table["fraction"] == last_line(run)["fraction"])]
    return [rows for _, rows in chosen.groupby("seed")]


def bias_line(run: Run) -> tuple[float, float] | None:
    """Slope and intercept of prediction by truth on validation, of all seeds at the largest fraction."""
    table = run.predictions
    rows = table[(table["split"] == "val") & (table["fraction"] == last_line(run)["fraction"])]
    if rows["target"].nunique() < 3 or rows["prediction"].nunique() < 2:
        return None
    slope, intercept = np.polyfit(rows["target"].to_numpy(float), rows["prediction"].to_numpy(float), 1)
    return float(slope), float(intercept)


def _confusions(run: Run) -> list[np.ndarray]:
    line = last_line(run)
    cells = line.get("pooled") or [c for c in run.results["cells"] if c["fraction"] == line["fraction"]]
    return [np.array(cell["confusion"], dtype=np.float64) for cell in cells]


def _fractions(runs: Runs) -> list[Figure]:
    """The label-fraction curve, where there are several fractions."""
    results = next(iter(runs.values())).results
    metric = headlines(results["task"], results["classes"])[0]
    lines: dict[str, Sequence[Mapping[str, object]]] = {}
    for names in _joined(runs):
        summary = [line for name in names for line in runs[name].results["summary"]]
        lines[", ".join(names)] = _curve(summary, summary, metric, baseline=False)
    for name, part in results["baselines"].items():
        lines[name] = _curve(part["summary"], results["summary"], metric, baseline=True)
    if len({line["fraction"] for run in runs.values() for line in run.results["summary"]}) < 2:
        return []
    told = (
        "Mean over seeds, with the 95 % interval from resampling people. Runs that differ in more than the "
        "label fraction are not joined."
    )
    return [Figure("What labels are worth", of_outcomes.fractions_figure(lines, f"test/{metric}"), told)]


def _joined(runs: Runs) -> list[list[str]]:
    """Names of the runs of each curve: those of one model, trained at one label fraction after the other."""
    curves: dict[str, list[str]] = {}
    for name, run in runs.items():
        data = _without(run.config.get("data"), OF_A_FRACTION)
        start = [run.results["encoder"]["name"], run.config.get("seed_everything")]
        what = [start, run.config.get("model"), data]
        curves.setdefault(json.dumps(what, sort_keys=True, default=str), []).append(name)
    joined = []
    for names in curves.values():
        fractions = [line["fraction"] for name in names for line in runs[name].results["summary"]]
        joined += [names] if len(set(fractions)) == len(fractions) else [[name] for name in names]
    return joined


def _without(config: Any, keys: Sequence[str]) -> Any:
    """A config, as read from YAML, without these keys at any depth."""
    if isinstance(config, dict):
        return {key: _without(value, keys) for key, value in config.items() if key not in keys}
    return config


def _curve(
    summary: Sequence[Mapping[str, object]],
    trained: Sequence[Mapping[str, object]],
    metric: str,
    baseline: bool,
) -> list[dict[str, object]]:
    curve = []
    for line, whose in zip(summary, trained, strict=True):
        cases = np.mean(np.asarray(whose["train_cases"], dtype=np.float64))
        test: Mapping[str, Mapping[str, Mapping[str, object]]] = line["test"]  # type: ignore[assignment]
        curve.append({**test["metrics"][metric], "train_cases": float(cases), "baseline": baseline})
    return sorted(curve, key=lambda point: float(str(point["train_cases"])))
