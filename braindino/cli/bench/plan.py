"""bench.yaml: which encoders, tasks, label fractions and seeds, and the studies that follow from it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from braindino.analysis.schemas.bench import BenchRecord
from braindino.cli.config.files import find_config
from braindino.cli.config.keys import unknown_key
from braindino.errors import BraindinoError
from braindino.files import folder_name, read_json, read_yaml, write_json

KEYS = ("out", "encoders", "tasks", "seeds", "fractions")
TASK_KEYS = ("config", "name")  # of a task; every other key is an override
ENCODER_KEY = "path"  # of an encoder with overrides
RUN_ID = "bench"
SNAPSHOT = "bench.json"
# What the bench itself decides of every study.
DECIDED = ("model.encoder", "probe.seeds", "probe.fractions", "run.root", "run.name", "run.encoder", "run.id")


@dataclass(frozen=True)
class Study:
    """One encoder on one task: all seeds and label fractions, in one run folder."""

    task: str
    encoder: str
    folder: Path
    arguments: tuple[str, ...]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.task}, {self.encoder}"


@dataclass(frozen=True)
class Plan:
    """What bench.yaml asks for, checked."""

    out: Path
    encoders: dict[str, dict[str, Any]]  # overrides, `model.encoder` among them
    tasks: dict[str, tuple[Path, dict[str, Any]]]
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    fractions: list[float] = field(default_factory=lambda: [1.0])

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Read bench.yaml; paths in it are from the folder in which the command is run.

        Raises:
            BraindinoError: a key is unknown or missing, or of the wrong kind; a config cannot be found.
        """
        if path.is_dir():
            raise BraindinoError(f"{path}: is a folder, expected the YAML file of a bench.")
        if not path.is_file():
            raise BraindinoError(f"{path}: no such file.")
        content = read_yaml(path)
        for key in content:
            if key not in KEYS:
                raise BraindinoError(unknown_key(str(key), str(key), list(KEYS), str(path)))
        for key in ("encoders", "tasks"):
            if not content.get(key):
                raise BraindinoError(f"{path}: {key!r} is missing; `braindino bench --help` has the format.")
        encoders, tasks = content["encoders"], content["tasks"]
        if not isinstance(encoders, Mapping):
            raise BraindinoError(f"{path}: encoders: expected a name and a path for each, as `mine: runs/x`.")
        if not isinstance(tasks, list):
            raise BraindinoError(f"{path}: tasks: expected a list of configs.")
        read = [_task(task, f"{path}: tasks[{place}]") for place, task in enumerate(tasks)]
        names = [name for name, _, _ in read]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise BraindinoError(f"{path}: two tasks are called {twice!r}; give one of them a `name`.")
        return cls(
            out=Path(str(content.get("out", "bench"))),
            encoders={
                str(name): _encoder(str(name), given, f"{path}: encoders") for name, given in encoders.items()
            },
            tasks={name: (config, overrides) for name, config, overrides in read},
            **{key: _numbers(content[key], kind, f"{path}: {key}") for key, kind in _KINDS if key in content},
        )

    @property
    def studies(self) -> list[Study]:
        """Task by task, so that studies side by side are of different encoders, with different features."""
        return [self._study(task, encoder) for task in self.tasks for encoder in self.encoders]

    @property
    def cells(self) -> int:
        """Cells per study, without those of the baselines."""
        return len(self.seeds) * len(self.fractions)

    def save(self) -> None:
        """Write `bench.json` into the bench's folder, for `braindino status`."""
        studies = [
            {"task": study.task, "encoder": study.encoder, "folder": str(study.folder.relative_to(self.out))}
            for study in self.studies
        ]
        write_json(self.out / SNAPSHOT, {"cells": self.cells, "studies": studies})

    def _study(self, task: str, encoder: str) -> Study:
        config, overrides = self.tasks[task]
        decided = {
            "probe.seeds": self.seeds,
            "probe.fractions": self.fractions,
            "run.root": str(self.out),
            "run.name": task,
            "run.encoder": encoder,
            "run.id": RUN_ID,
        }
        whole = {**overrides, **self.encoders[encoder], **decided}
        given = [f"--{key}={_text(value)}" for key, value in whole.items()]
        return Study(task, encoder, self.out / task / encoder / RUN_ID, ("--config", str(config), *given))


_KINDS = (("seeds", int), ("fractions", float))


def planned(out: Path) -> list[tuple[str, str, Path, int]]:
    """Task, encoder, run folder and number of cells of every study of the bench in `out`."""
    known: BenchRecord = read_json(out / SNAPSHOT, BenchRecord)
    for study in known["studies"]:
        if not (out / study["folder"]).resolve().is_relative_to(out.resolve()):
            raise BraindinoError(
                f"{out / SNAPSHOT}: folder {study['folder']!r} is not in the bench; it was damaged or edited."
            )
    return [
        (study["task"], study["encoder"], out / study["folder"], known["cells"]) for study in known["studies"]
    ]


def _task(task: Any, where: str) -> tuple[str, Path, dict[str, Any]]:
    """Name, config and overrides (dotted key -> value) of one entry of `tasks`."""
    entry = {"config": task} if isinstance(task, str) else task
    if not isinstance(entry, Mapping) or not isinstance(entry.get("config"), str):
        raise BraindinoError(f"{where}: expected the name of a config, or `config: NAME` with overrides.")
    try:
        config = find_config(entry["config"])
    except BraindinoError as error:
        raise BraindinoError(str(error).replace("--config", f"{where}:", 1)) from None
    name = str(entry.get("name") or config.stem)
    _check_name(name, where)
    return name, config, _overrides(entry, TASK_KEYS, where)


def _encoder(name: str, given: Any, where: str) -> dict[str, Any]:
    """What an encoder overrides in every task: `model.encoder`, and of a mapping all else, as a store."""
    _check_name(name, where)
    entry = {ENCODER_KEY: given} if isinstance(given, str) else given
    if not isinstance(entry, Mapping) or not isinstance(entry.get(ENCODER_KEY), str):
        raise BraindinoError(
            f"{where}: expected a name and a path for each, as `mine: runs/x`, or, with a store of its own, "
            f"`{name}: {{path: brainiac:FILE, data.store: FOLDER}}`."
        )
    return {"model.encoder": entry[ENCODER_KEY], **_overrides(entry, (ENCODER_KEY,), f"{where}: {name}")}


def _overrides(entry: Mapping[Any, Any], own: Sequence[str], where: str) -> dict[str, Any]:
    """The keys of an entry that are of the config, dotted, and not the bench's."""
    overrides = _dotted({key: value for key, value in entry.items() if key not in own})
    for key in overrides:
        if key in DECIDED:
            raise BraindinoError(f"{where}: {key} is the bench's to decide; leave it out.")
    return overrides


def _dotted(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """`{data: {root: x}}` and `{data.root: x}` -> `{"data.root": x}`; what has a class_path stays whole."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and "class_path" not in value:
            flat |= _dotted(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _numbers(values: Any, kind: type, where: str) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise BraindinoError(f"{where}: expected a list of numbers.")
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        raise BraindinoError(f"{where}: {values} are not all numbers.")
    return [kind(value) for value in values]


def _check_name(name: str, where: str) -> None:
    try:
        folder_name(name, where)
    except BraindinoError:
        raise BraindinoError(f"{where}: {name!r} is no name for a folder.") from None


def _text(value: Any) -> str:
    """A value as the command line takes it: words as they are, all else as JSON, which is YAML."""
    return value if isinstance(value, str) else json.dumps(value)
