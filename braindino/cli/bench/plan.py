"""The plan of a bench: bench.yaml, and the studies that follow from it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from braindino.cli.bench.estimate import study_settings
from braindino.cli.config.files import find_config
from braindino.cli.config.keys import unknown_key
from braindino.errors import BraindinoError
from braindino.files import folder_name, read_yaml
from braindino.training.study_progress import baseline_names
from braindino.verbs.bench import Study

KEYS = ("out", "encoders", "tasks", "seeds", "fractions")
# Keys of a task; every other key is an override.
TASK_KEYS = ("config", "name")
# Key of the path of an encoder with overrides.
ENCODER_KEY = "path"
RUN_ID = "bench"
# Keys that the bench sets for every study.
DECIDED = ("model.encoder", "probe.seeds", "probe.fractions", "run.root", "run.name", "run.encoder", "run.id")


@dataclass(frozen=True)
class Plan:
    """The content of bench.yaml.

    Attributes:
        out: folder of the bench.
        encoders: name -> overrides, with `model.encoder`.
        tasks: name -> config file, and overrides.
        seeds: seeds of every study.
        fractions: label fractions of every study.
    """

    out: Path
    encoders: dict[str, dict[str, Any]]
    tasks: dict[str, tuple[Path, dict[str, Any]]]
    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    fractions: list[float] = field(default_factory=lambda: [1.0])

    @classmethod
    def read(cls, path: Path) -> "Plan":
        """Return the plan in a YAML file; paths in it are relative to the current folder.

        Raises:
            BraindinoError: a key is unknown or missing, or of the wrong kind; a config cannot be found.
        """
        if path.is_dir():
            raise BraindinoError(f"{path}: is a folder, expected the YAML file of a bench.")
        if not path.is_file():
            raise BraindinoError(f"{path}: no such file.")
        content = read_yaml(path)
        _check_content(content, path)
        encoders, tasks = content["encoders"], content["tasks"]
        parsed = [_task(task, f"{path}: tasks[{place}]") for place, task in enumerate(tasks)]
        names = [name for name, _, _ in parsed]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise BraindinoError(f"{path}: two tasks are called {twice!r}; give one of them a `name`.")
        return cls(
            out=Path(str(content.get("out", "bench"))),
            encoders={
                str(name): _encoder(str(name), given, f"{path}: encoders") for name, given in encoders.items()
            },
            tasks={name: (config, overrides) for name, config, overrides in parsed},
            **{key: _numbers(content[key], kind, f"{path}: {key}") for key, kind in _KINDS if key in content},
        )

    @property
    def studies(self) -> list[Study]:
        """Return all studies, task by task: parallel ones then have different encoders and features."""
        return [self._study(task, encoder) for task in self.tasks for encoder in self.encoders]

    @property
    def cells(self) -> int:
        """Return the number of cells per study, without those of the baselines."""
        return len(self.seeds) * len(self.fractions)

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
        study = Study(task, encoder, self.out / task / encoder / RUN_ID, ("--config", str(config), *given))
        probe = study_settings(study).get("probe")
        setting = probe.get("baselines") if isinstance(probe, Mapping) else None
        return replace(study, baselines=baseline_names(setting))


_KINDS = (("seeds", int), ("fractions", float))


def _check_content(content: Mapping[Any, Any], path: Path) -> None:
    """Raise BraindinoError for unknown, missing or mistyped keys of bench.yaml."""
    for key in content:
        if key not in KEYS:
            raise BraindinoError(unknown_key(str(key), str(key), list(KEYS), str(path)))
    for key in ("encoders", "tasks"):
        if not content.get(key):
            raise BraindinoError(f"{path}: {key!r} is missing; `braindino bench --help` has the format.")
    if not isinstance(content["encoders"], Mapping):
        raise BraindinoError(f"{path}: encoders: expected a name and a path for each, as `mine: runs/x`.")
    if not isinstance(content["tasks"], list):
        raise BraindinoError(f"{path}: tasks: expected a list of configs.")


def _task(task: Any, where: str) -> tuple[str, Path, dict[str, Any]]:
    """Return name, config and overrides (dotted key -> value) of an entry of `tasks`."""
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
    """Return the overrides of an encoder: `model.encoder`, and those of a mapping, as its store."""
    _check_name(name, where)
    entry = {ENCODER_KEY: given} if isinstance(given, str) else given
    if not isinstance(entry, Mapping) or not isinstance(entry.get(ENCODER_KEY), str):
        raise BraindinoError(
            f"{where}: expected a name and a path for each, as `mine: runs/x`, or, with a store of its own, "
            f"`{name}: {{path: brainiac:FILE, data.store: FOLDER}}`."
        )
    return {"model.encoder": entry[ENCODER_KEY], **_overrides(entry, (ENCODER_KEY,), f"{where}: {name}")}


def _overrides(entry: Mapping[Any, Any], reserved: Sequence[str], where: str) -> dict[str, Any]:
    """Return the dotted keys of an entry that belong to the config."""
    overrides = _dotted({key: value for key, value in entry.items() if key not in reserved})
    for key in overrides:
        if key in DECIDED:
            raise BraindinoError(f"{where}: {key} is set by the bench; leave it out.")
    return overrides


def _dotted(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Return `{"data.root": x}` for `{data: {root: x}}`; mappings with a class_path stay whole."""
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
    """Return a value for the command line: text unchanged, other values as JSON, which is YAML."""
    return value if isinstance(value, str) else json.dumps(value)
