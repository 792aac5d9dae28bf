"""Read the run folders of finished probes, and group them into models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.analysis.predictions import align_risks, read_predictions
from braindino.analysis.schemas.bench import BENCH, BenchOrder
from braindino.analysis.schemas.consistency import check_results
from braindino.analysis.schemas.environment import Environment
from braindino.analysis.schemas.leakage import Leakage
from braindino.analysis.schemas.results import Results
from braindino.documents import check_document, load_json, load_yaml

PREDICTIONS = "predictions.csv"
LEAKAGE = "leakage.json"
REQUIRED = ("task", "classes", "cases", "audit", "cells", "summary", "baselines", "folds", "asked", "dropped")
# Folders in a run folder that contain files predictions.csv, but no runs.
SUBFOLDERS = ("cells", "baselines")


@dataclass(frozen=True)
class Run:
    """A run folder, `runs/<task>/<encoder>/<id>`; its files are read on first use.

    Attributes:
        path: the run folder.
    """

    path: Path

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """Return all rows of predictions.csv, checked, with risks on one scale (`align_risks`).

        Raises:
            ValueError: the file is damaged or is a link out of the run folder.
        """
        return align_risks(read_predictions(self.file(PREDICTIONS)))

    @cached_property
    def results(self) -> dict[str, Any]:
        """Return the content of results.json.

        Raises:
            ValueError: it does not exist, is damaged, or was written by an earlier version.
        """
        results: dict[str, Any] = self._json("results.json", dict[str, Any])
        absent = [key for key in REQUIRED if key not in results]
        if absent:
            raise ValueError(
                f"{self.path}: results.json has no {absent[0]!r}, it is of an earlier version; the same "
                "`braindino probe` again completes it"
            )
        file = str(self.path / "results.json")
        check_document(results, Results, file)
        check_results(results, file)
        return results

    @property
    def has_results(self) -> bool:
        """Return whether the folder contains results.json; runs of `knn` have none."""
        return (self.path / "results.json").is_file()

    @cached_property
    def audit(self) -> dict[str, Any] | None:
        """Return the leakage audit of results.json, or of `knn`'s leakage.json; None without either."""
        for name in ("results.json", LEAKAGE):
            if self.file(name).is_file():
                audit: dict[str, Any] | None = self._json(name, Leakage).get("audit")
                return audit
        return None

    @cached_property
    def config(self) -> dict[str, Any]:
        """Return the content of config.yaml, or an empty dict if there is none."""
        path = self.file("config.yaml")
        return load_yaml(path) if path.is_file() else {}

    @cached_property
    def starts(self) -> list[dict[str, Any]]:
        """Return the entries of environment.json, one per start of the run, the latest last."""
        if not self.file("environment.json").is_file():
            return []
        return list(self._json("environment.json", Environment)["starts"])

    @property
    def task(self) -> str:
        """Return the run's name (`run.name` of config.yaml), or that of the folder two levels up."""
        run = self.config.get("run")
        name = run.get("name") if isinstance(run, dict) else None
        return str(name or self.path.resolve().parent.parent.name)

    @property
    def encoder(self) -> str:
        """Return the encoder's name, that of the parent folder."""
        return self.path.resolve().parent.name

    def file(self, name: str) -> Path:
        """Return the path of a file in the run folder.

        Args:
            name: path relative to the run folder.

        Raises:
            ValueError: the file is a link that leads out of the run folder.
        """
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise ValueError(
                f"{path}: a link that leads out of the run folder, which is not followed; put the file "
                "itself there"
            )
        return path

    def _json(self, name: str, shape: Any) -> Any:
        try:
            return load_json(self.file(name), shape)
        except FileNotFoundError:
            raise ValueError(f"{self.path}: no {name}; the run is not finished") from None


TaskRuns = Mapping[str, Run]  # name of a model -> its run of one task
ModelRuns = Mapping[str, Mapping[str, Run]]  # name of a model -> task -> run


def find_runs(path: Path) -> list[Run]:
    """Return the run in a folder, or all finished runs below it.

    Runs below a folder are in the order of a bench's plan if there is one, and sorted by path.

    Args:
        path: a run folder, or a folder of them.

    Raises:
        ValueError: the folder does not exist or contains no finished run.
    """
    if (path / PREDICTIONS).is_file():
        return [Run(path)]
    if not path.is_dir():
        raise ValueError(f"{path}: no such folder")
    planned = _planned_folders(path)
    folders = sorted(
        (file.parent for file in path.rglob(PREDICTIONS)),
        key=lambda folder: (planned.get(folder, len(planned)), folder),
    )
    runs = [Run(folder) for folder in folders if not set(SUBFOLDERS) & set(folder.relative_to(path).parts)]
    if not runs:
        raise ValueError(
            f"{path}: no finished probe in it (no {PREDICTIONS}); `braindino status` shows what is done"
        )
    return runs


def _planned_folders(path: Path) -> dict[Path, int]:
    """Return run folder -> its position in a bench's plan, bench.json; empty without one."""
    if not (path / BENCH).is_file():
        return {}
    studies = load_json(path / BENCH, BenchOrder)["studies"]
    return {path / study["folder"]: position for position, study in enumerate(studies)}


def runs_by_model(paths: Sequence[Path]) -> dict[str, dict[str, Run]]:
    """Group runs into models with one run per task: name of the model -> task -> run.

    Runs of one encoder are one model, if each encoder has at most one run per task. If not, each path is one
    model, named by the shortest end of its path that differs from the others.

    Args:
        paths: run folders, or folders of runs.

    Raises:
        ValueError: a path contains no runs, or neither grouping gives every model one run per task.
    """
    by_path = {path: find_runs(path) for path in dict.fromkeys(paths)}
    by_encoder: dict[str, list[Run]] = {}
    for run in dict.fromkeys(run for runs in by_path.values() for run in runs):
        by_encoder.setdefault(run.encoder, []).append(run)
    if _repeated_task(by_encoder) is None:
        return {name: {run.task: run for run in runs} for name, runs in by_encoder.items()}
    by_name = dict(zip(short_names(list(by_path)), by_path.values(), strict=True))
    repeated = _repeated_task(by_name)
    if repeated is not None:
        model, first, second = repeated
        raise ValueError(
            f"{model} has two runs of {first.task}: {first.path} and {second.path}; "
            "give the run folders to use one by one"
        )
    return {name: {run.task: run for run in runs} for name, runs in by_name.items()}


def _repeated_task(models: dict[str, list[Run]]) -> tuple[str, Run, Run] | None:
    """Return the first model with two runs of a task, and these runs; None if there is none."""
    for model, runs in models.items():
        by_task: dict[str, Run] = {}
        for run in runs:
            if run.task in by_task:
                return model, by_task[run.task], run
            by_task[run.task] = run
    return None


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the ends of paths, equally long and as short as they can be to differ.

    Args:
        paths: at least one.
    """
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def largest_fraction_summary(run: Run) -> dict[str, Any]:
    """Return the line of the summary in results.json that belongs to the largest label fraction.

    Args:
        run: a run with results.json.
    """
    return dict(max(run.results["summary"], key=lambda line: line["fraction"]))


def first_test_results(run: Run) -> dict[str, Any]:
    """Return the first seed's test results at the largest label fraction, over all folds.

    Args:
        run: a run with results.json.
    """
    line = largest_fraction_summary(run)
    if "pooled" in line:
        return dict(line["pooled"][0])
    return dict(next(cell for cell in run.results["cells"] if cell["fraction"] == line["fraction"]))
