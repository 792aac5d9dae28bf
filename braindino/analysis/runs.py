"""Run folders of finished probes: what is in them, and which of them belong to one model."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.analysis.predictions import one_scale, read_predictions
from braindino.analysis.shapes import BenchOrder, Environment, Leakage, Results, check_results
from braindino.documents import check, read_json, read_yaml

PREDICTIONS = "predictions.csv"
BENCH = "bench.json"
LEAKAGE = "leakage.json"
NEEDED = ("task", "classes", "cases", "audit", "cells", "summary", "baselines", "folds", "asked", "dropped")
WITHIN = ("cells", "baselines")  # parts of a run that hold predictions of their own


@dataclass(frozen=True)
class Run:
    """A folder that `braindino probe` wrote, `runs/<task>/<encoder>/<id>`; files are read when asked for."""

    path: Path

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """All rows of predictions.csv, checked, on `one_scale`."""
        return one_scale(read_predictions(self.file(PREDICTIONS)))

    @cached_property
    def results(self) -> dict[str, Any]:
        """results.json; ValueError if it is not there, damaged, or of an earlier version."""
        results: dict[str, Any] = self._json("results.json", dict[str, Any])
        absent = [key for key in NEEDED if key not in results]
        if absent:
            raise ValueError(
                f"{self.path}: results.json has no {absent[0]!r}, it is of an earlier version; the same "
                "`braindino probe` again completes it"
            )
        file = str(self.path / "results.json")
        check(results, Results, file)
        check_results(results, file)
        return results

    @cached_property
    def audit(self) -> dict[str, Any] | None:
        """The leakage audit of results.json, or of `knn`'s leakage.json; None without either."""
        for name in ("results.json", LEAKAGE):
            if self.file(name).is_file():
                audit: dict[str, Any] | None = self._json(name, Leakage).get("audit")
                return audit
        return None

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.yaml, or nothing where there is none."""
        path = self.file("config.yaml")
        return read_yaml(path) if path.is_file() else {}

    @cached_property
    def starts(self) -> list[dict[str, Any]]:
        """What environment.json tells of every start of the run, the last one last."""
        if not self.file("environment.json").is_file():
            return []
        return list(self._json("environment.json", Environment)["starts"])

    @property
    def task(self) -> str:
        """The name that the run was given (`run.name`), else that of the folder two above."""
        run = self.config.get("run")
        name = run.get("name") if isinstance(run, dict) else None
        return str(name or self.path.resolve().parent.parent.name)

    @property
    def encoder(self) -> str:
        """The encoder's name: that of the folder above."""
        return self.path.resolve().parent.name

    def file(self, name: str) -> Path:
        """The path of a file in the run folder; ValueError if it is a link that leads out of the folder."""
        path = self.path / name
        if not path.resolve().is_relative_to(self.path.resolve()):
            raise ValueError(
                f"{path}: a link that leads out of the run folder, which is not followed; put the file "
                "itself there"
            )
        return path

    def _json(self, name: str, shape: Any) -> Any:
        try:
            return read_json(self.file(name), shape)
        except FileNotFoundError:
            raise ValueError(f"{self.path}: no {name}; the run is not finished") from None


def find_runs(path: Path) -> list[Run]:
    """The run that a folder is, or all finished ones below it: in the order of a bench's plan, then by path.

    Raises:
        ValueError: there is none.
    """
    if (path / PREDICTIONS).is_file():
        return [Run(path)]
    if not path.is_dir():
        raise ValueError(f"{path}: no such folder")
    planned = _planned(path)
    found = sorted(
        (file.parent for file in path.rglob(PREDICTIONS)),
        key=lambda folder: (planned.get(folder, len(planned)), folder),
    )
    runs = [Run(folder) for folder in found if not set(WITHIN) & set(folder.relative_to(path).parts)]
    if not runs:
        raise ValueError(
            f"{path}: no finished probe in it (no {PREDICTIONS}); `braindino status` shows what is done"
        )
    return runs


def _planned(path: Path) -> dict[Path, int]:
    """Run folder -> its place in the `bench.json` of a bench; empty where there is none."""
    if not (path / BENCH).is_file():
        return {}
    studies = read_json(path / BENCH, BenchOrder)["studies"]
    return {path / study["folder"]: place for place, study in enumerate(studies)}


def sides_of(paths: Sequence[Path]) -> dict[str, dict[str, Run]]:
    """Group runs into models, a run per task each: name of the model -> task -> run.

    Runs of one encoder are one model, if it has one run per task. Otherwise each argument is a model, by the
    end of its path that tells it from the others.

    Args:
        paths: run folders, or folders of runs.

    Raises:
        ValueError: a path without runs; neither way gives a model one run per task.
    """
    groups = {path: find_runs(path) for path in dict.fromkeys(paths)}
    by_encoder: dict[str, list[Run]] = {}
    for run in dict.fromkeys(run for runs in groups.values() for run in runs):
        by_encoder.setdefault(run.encoder, []).append(run)
    if _once_per_task(by_encoder) is None:
        return {name: {run.task: run for run in runs} for name, runs in by_encoder.items()}
    named = dict(zip(short_names(list(groups)), groups.values(), strict=True))
    twice = _once_per_task(named)
    if twice is not None:
        raise ValueError(
            f"{twice[0]} has two runs of {twice[1][0].task}: {twice[1][0].path} and {twice[1][1].path}; "
            "name the runs that are meant one by one"
        )
    return {name: {run.task: run for run in runs} for name, runs in named.items()}


def _once_per_task(sides: dict[str, list[Run]]) -> tuple[str, tuple[Run, Run]] | None:
    """The first model with two runs of a task, and these; None if there is none."""
    for name, runs in sides.items():
        seen: dict[str, Run] = {}
        for run in runs:
            if run.task in seen:
                return name, (seen[run.task], run)
            seen[run.task] = run
    return None


def short_names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that differ from each other, equally long."""
    parts = [path.resolve().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(each[-length:]) for each in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]
