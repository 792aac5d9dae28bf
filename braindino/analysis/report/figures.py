"""Draw the figures of a task from its runs."""

import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from braindino.analysis.figures.classification import calibration_figure, confusion_figure, roc_figure
from braindino.analysis.figures.data_uris import svg
from braindino.analysis.figures.label_fractions import FractionPoint, fractions_figure
from braindino.analysis.figures.patch_maps import map_montage
from braindino.analysis.figures.regression import scatter_figure
from braindino.analysis.figures.segmentation import examples_figure, share_figure
from braindino.analysis.figures.slice_view import views_from_arrays
from braindino.analysis.figures.survival import kaplan_meier_figure
from braindino.analysis.metrics.headlines import heading, headlines, shown_headlines, unit_of
from braindino.analysis.report.pseudonyms import Pseudonymiser
from braindino.analysis.runs import Run, TaskRuns, first_test_results, largest_fraction_summary

MAX_PANELS = 4  # models beside each other
# Keys of `data` that may differ between runs of one model at different label fractions.
FRACTION_KEYS = ("fraction", "batch_size", "steps_per_epoch", "num_workers", "jobs")


class ReportFigure(NamedTuple):
    """A figure of a page.

    Attributes:
        title: heading above the figure.
        source: `src` of an <img>; empty where there is no picture to show.
        caption: sentence below the figure.
    """

    title: str
    source: str
    caption: str


def task_figures(runs: TaskRuns, pseudonymiser: Pseudonymiser) -> list[ReportFigure]:
    """Return the figures of one task, in the order of the page.

    Args:
        runs: name of the model -> its run of the task.
        pseudonymiser: replaces the names of cases.

    Raises:
        ValueError: a file with arrays of a run is damaged.
    """
    figures = _label_fraction_figures(runs)
    task = next(iter(runs.values())).results["task"]
    if task == "classification":
        figures += _classification_figures(runs)
    elif task == "regression":
        figures += _regression_figures(runs)
    elif task == "survival":
        figures += _survival_figures(runs)
    elif task == "segmentation":
        figures += _segmentation_figures(runs, pseudonymiser)
    return figures + _patch_figures(runs)


def _classification_figures(runs: TaskRuns) -> list[ReportFigure]:
    tests = {name: seed_tables(run) for name, run in runs.items()}
    classes = next(iter(runs.values())).results["classes"]
    counts = {name: np.mean(_confusions(run), axis=0) for name, run in _first_panels(runs).items()}
    return [
        ReportFigure(
            "Calibration",
            calibration_figure(tests),
            "Predictions of all seeds in ten bins of probability; the area of a point is their number.",
        ),
        ReportFigure(
            "ROC curves",
            roc_figure(tests),
            "Mean over seeds (thin lines: each seed), and the mean AUROC over seeds, as in the table.",
        ),
        ReportFigure(
            "Confusion matrix",
            confusion_figure(counts, classes),
            "Percentage of the cases of each true class, and number of cases (mean over seeds).",
        ),
    ]


def _regression_figures(runs: TaskRuns) -> list[ReportFigure]:
    shown = _first_panels(runs)
    lines = {name: bias_line(run) for name, run in shown.items()}
    tests = {name: seed_tables(run) for name, run in shown.items()}
    return [
        ReportFigure(
            "Prediction by truth",
            scatter_figure(tests, lines, _unit(runs)),
            "Test cases, mean over seeds. The bias line is fitted to predictions by truth on validation.",
        )
    ]


def _survival_figures(runs: TaskRuns) -> list[ReportFigure]:
    curves = {name: first_test_results(run)["kaplan_meier"] for name, run in _first_panels(runs).items()}
    return [
        ReportFigure(
            "Kaplan-Meier curves",
            kaplan_meier_figure(curves, _unit(runs)),
            "Test cases of the first seed, split at the median risk of the training cases.",
        )
    ]


def _segmentation_figures(runs: TaskRuns, pseudonymiser: Pseudonymiser) -> list[ReportFigure]:
    tests = {name: seed_tables(run) for name, run in runs.items()}
    caption = "Test cases, mean over seeds; median, quartiles, and whiskers to 1.5 interquartile ranges."
    figures = [ReportFigure("Dice of every case", share_figure(tests, "dice", "Dice"), caption)]
    studies = [run.results for run in runs.values()]
    if "nsd" in shown_headlines(studies):
        label = heading("nsd", studies[0]).replace("nsd", "NSD")
        figures.append(ReportFigure("NSD of every case", share_figure(tests, "nsd", label), caption))
    return [*figures, *_example_figures(runs, pseudonymiser)]


def _first_panels(runs: TaskRuns) -> dict[str, Run]:
    """Return the first models, as many as fit beside each other."""
    return dict(list(runs.items())[:MAX_PANELS])


def _unit(runs: TaskRuns) -> str:
    """Return the unit of the target, or an empty string."""
    results = next(iter(runs.values())).results
    return str(results.get("unit") or unit_of(results["target"]))


@contextmanager
def load_arrays(run: Run, path: Path) -> Iterator[dict[str, NDArray[Any]]]:
    """Load the arrays of an .npz in a run folder, for use in the block.

    Args:
        run: the run.
        path: the file.

    Raises:
        ValueError: the file is damaged, or the block raised an error because its arrays do not fit together.
    """
    file = run.file(str(path.relative_to(run.path)))
    try:
        with np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
        yield arrays
    except (ValueError, KeyError, IndexError, TypeError, EOFError, BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{file}: damaged ({type(error).__name__}: {error}); remove it and run the same probe again"
        ) from error


def _patch_figures(runs: TaskRuns) -> list[ReportFigure]:
    """Return a figure of patch tokens as colours for each encoder whose run has saved them."""
    figures = []
    caption = (
        "The middle slice of some test cases, and the first three principal components of the encoder's "
        "patch tokens as colours: equal colours are equal features."
    )
    for name, run in runs.items():
        if not (run.path / "patches.npz").is_file():
            continue
        with load_arrays(run, run.path / "patches.npz") as arrays:
            montage = map_montage(
                arrays["image"].astype(np.float32),
                [("patch tokens", arrays["colours"].astype(np.float32))],
                arrays["held"],
                list(arrays["slice"]),
                "",
                views=views_from_arrays(arrays, len(arrays["image"])),
            )
        figures.append(ReportFigure(f"PCA maps, {name}", svg(montage), caption))
    return figures


def _example_figures(runs: TaskRuns, pseudonymiser: Pseudonymiser) -> list[ReportFigure]:
    """Return the best, median and worst case of each model, or a note if none are saved."""
    figures = []
    caption = (
        "Test cases of the first seed by mean Dice, at the slice where truth and prediction are largest."
    )
    for name, run in runs.items():
        line = largest_fraction_summary(run)
        pattern = f"cells/seed{line['seeds'][0]}_fraction{line['fraction']}*/examples.npz"
        files = sorted(run.path.glob(pattern))
        if not files:
            note = "The run has no saved slices of test cases."
            figures.append(ReportFigure(f"Examples, {name}", "", note))
            continue
        with load_arrays(run, files[0]) as examples:
            cases = [pseudonymiser.person(str(case)) for case in examples["case"]]
            source = examples_figure({**examples, "case": cases})
        figures.append(ReportFigure(f"Best, median and worst case, {name}", source, caption))
    return figures


def seed_tables(run: Run) -> list[pd.DataFrame]:
    """Return the test rows of predictions.csv at the largest label fraction, one table per seed.

    Args:
        run: a run with results.json.
    """
    table = run.predictions
    fraction = largest_fraction_summary(run)["fraction"]
    test = table[(table["split"] == "test") & (table["fraction"] == fraction)]
    return [rows for _, rows in test.groupby("seed")]


def bias_line(run: Run) -> tuple[float, float] | None:
    """Return slope and intercept of prediction by truth on validation; None for few values.

    Args:
        run: a run with results.json; all seeds at its largest label fraction are used.
    """
    table = run.predictions
    fraction = largest_fraction_summary(run)["fraction"]
    rows = table[(table["split"] == "val") & (table["fraction"] == fraction)]
    if rows["target"].nunique() < 3 or rows["prediction"].nunique() < 2:
        return None
    slope, intercept = np.polyfit(rows["target"].to_numpy(float), rows["prediction"].to_numpy(float), 1)
    return float(slope), float(intercept)


def _confusions(run: Run) -> list[NDArray[np.float64]]:
    line = largest_fraction_summary(run)
    cells = line.get("pooled") or [c for c in run.results["cells"] if c["fraction"] == line["fraction"]]
    return [np.array(cell["confusion"], dtype=np.float64) for cell in cells]


def _label_fraction_figures(runs: TaskRuns) -> list[ReportFigure]:
    """Return the curve over label fractions, if there are several fractions."""
    results = next(iter(runs.values())).results
    if len({line["fraction"] for run in runs.values() for line in run.results["summary"]}) < 2:
        return []
    metric = headlines(results["task"], results["classes"])[0]
    curves: dict[str, list[FractionPoint]] = {}
    for names in joined_runs(runs):
        summary = [line for name in names for line in runs[name].results["summary"]]
        curves[", ".join(names)] = _curve(summary, summary, metric, baseline=False)
    for name, part in results["baselines"].items():
        curves[name] = _curve(part["summary"], results["summary"], metric, baseline=True)
    gains = _gain_curves(results, metric)
    caption = (
        "Mean over seeds, with the 95 % interval from resampling people. Runs that differ in more than the "
        "label fraction are not joined."
    )
    figures = [
        ReportFigure("Metric by number of labels", fractions_figure(curves, f"test/{metric}"), caption)
    ]
    if gains:
        caption = (
            f"{next(iter(runs))} minus each of its baselines: mean over seeds, with the 95 % interval from "
            "resampling people, paired. Above 0 the probe is better."
        )
        figure = fractions_figure(gains, f"difference in test/{metric}", zero=True)
        figures.append(ReportFigure("Difference to baselines by number of labels", figure, caption))
    return figures


def _gain_curves(results: Mapping[str, Any], metric: str) -> dict[str, list[FractionPoint]]:
    """Return the differences of a segmentation to its baselines, by name; none for other tasks."""
    curves = {}
    for name, part in results["baselines"].items() if results["task"] == "segmentation" else ():
        lines = [line for line in part["advantage"] if line["metric"] == metric]
        if len(lines) > 1:
            points = [{"fraction": line["fraction"], "test": {"metrics": {metric: line}}} for line in lines]
            curves[f"less {name}"] = _curve(points, results["summary"], metric, baseline=False)
    return curves


def joined_runs(runs: TaskRuns) -> list[list[str]]:
    """Return the names of the runs of each curve.

    Runs of one curve have the same encoder, seed, model and data, and each has other label fractions.

    Args:
        runs: name of the model -> its run of the task.
    """
    groups: dict[str, list[str]] = {}
    for name, run in runs.items():
        settings = [
            [run.results["encoder"]["name"], run.config.get("seed_everything")],
            run.config.get("model"),
            _without_keys(run.config.get("data"), FRACTION_KEYS),
        ]
        groups.setdefault(json.dumps(settings, sort_keys=True, default=str), []).append(name)
    joined = []
    for names in groups.values():
        fractions = [line["fraction"] for name in names for line in runs[name].results["summary"]]
        joined += [names] if len(set(fractions)) == len(fractions) else [[name] for name in names]
    return joined


def _without_keys(config: Any, keys: Sequence[str]) -> Any:
    """Return a config, as read from YAML, without these keys at any depth."""
    if isinstance(config, dict):
        return {key: _without_keys(value, keys) for key, value in config.items() if key not in keys}
    return config


def _curve(
    summary: Sequence[Mapping[str, Any]], trained: Sequence[Mapping[str, Any]], metric: str, baseline: bool
) -> list[FractionPoint]:
    """Return the points of a curve, sorted by the number of training cases.

    Args:
        summary: lines with the metric, one per label fraction.
        trained: lines with the number of training cases, of the same label fractions at least.
        metric: its name.
        baseline: whether the curve belongs to a baseline.
    """
    points = []
    for line in summary:
        probe_line = next(other for other in trained if other["fraction"] == line["fraction"])
        numbers = line["test"]["metrics"][metric]
        points.append(
            FractionPoint(
                train_cases=float(np.mean(probe_line["train_cases"])),
                value=numbers["value"],
                low=numbers["low"],
                high=numbers["high"],
                baseline=baseline,
            )
        )
    return sorted(points, key=lambda point: point.train_cases)
