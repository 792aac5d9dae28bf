"""Compare a run folder with a config: the same run, another one, or a finished one."""

from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from braindino.documents import load_yaml
from braindino.errors import BraindinoError

CONFIG = "config.yaml"
# Settings that affect the place, speed or output of a run, but not its result.
_WITHOUT_EFFECT = (
    "run",
    "config",
    "ckpt_path",
    "weights_only",
    "trainer.accelerator",
    "trainer.strategy",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.plugins",
    "trainer.profiler",
    "trainer.benchmark",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.enable_checkpointing",
    "trainer.logger",
    "trainer.log_every_n_steps",
    "trainer.default_root_dir",
    # Of the evaluation after training.
    "model.init_args.nsd_tolerance",
)
# The same for data modules, nested ones included; command and contract are recorded in the store.
_WITHOUT_EFFECT_IN_DATA = ("num_workers", "jobs", "prepare", "strip_cmd")
LENGTH = ("trainer.max_steps", "trainer.max_epochs", "trainer.max_time", "trainer.min_steps")
_TRAINING_IN_MODEL = ("model.init_args.optimiser.", "model.init_args.seed")
_PAIRED_BY = ("seed_everything", "data.init_args.fraction")
# Former modules of classes that a `class_path` names, and the modules that replaced them.
_RENAMED_MODULES = {"braindino.volumetric": "braindino.brainsegfounder"}
_MAX_LISTED = 4
_ABSENT = object()


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a resolved config that make it the run it is, by dotted key.

    A `class_path` with a former name of its module is returned with the present one.
    """
    return {key: _renamed(key, value) for key, value in _flat(config) if not _has_no_effect(key)}


def _renamed(key: str, value: Any) -> Any:
    if key.rpartition(".")[2] != "class_path" or not isinstance(value, str):
        return value
    module, _, name = value.rpartition(".")
    return f"{_RENAMED_MODULES[module]}.{name}" if module in _RENAMED_MODULES else value


def _has_no_effect(key: str) -> bool:
    if key.startswith("data.") and key.rpartition(".")[2] in _WITHOUT_EFFECT_IN_DATA:
        return True
    return any(key == prefix or key.startswith(f"{prefix}.") for prefix in _WITHOUT_EFFECT)


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in tree.items():
        nested = isinstance(value, Mapping) and value
        leaves += _flat(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return leaves


def differences(folder: Path, settings: Mapping[str, Any]) -> list[str] | None:
    """Return how settings differ from those of the run in a folder.

    Args:
        folder: the run folder.
        settings: see `settings_of`.

    Returns:
        Lines such as `a.b 2 (was 1)`. None if the folder has no config that can be read: no run has trained
        in it.
    """
    try:
        saved = load_yaml(folder / CONFIG)
    except (OSError, ValueError):
        return None
    if not saved:
        return None
    before = settings_of(saved)
    # Without a setting the seed is drawn at every start.
    if "seed_everything" not in settings:
        before.pop("seed_everything", None)
    keys = [*settings, *(key for key in before if key not in settings)]
    return [
        f"{_short(key)} {_text(settings, key)} (was {_text(before, key)})"
        for key in keys
        if settings.get(key, _ABSENT) != before.get(key, _ABSENT)
    ]


def training_differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Return how two runs of `fit` were trained differently, apart from their networks and seeds.

    Args:
        first: resolved config of a run.
        second: resolved config of another.

    Returns:
        Lines such as `a.b 1 and 2`. Settings that only one of them has are of another version.
    """
    before, after = settings_of(first), settings_of(second)
    return [
        f"{_short(key)} {_text(before, key)} and {_text(after, key)}"
        for key, value in before.items()
        if key in after and after[key] != value and _is_training(key)
    ]


def _is_training(key: str) -> bool:
    """Return whether a setting is neither of the network, nor a seed or fraction that runs are paired by."""
    if key.startswith("model."):
        return key.startswith(_TRAINING_IN_MODEL)
    return key not in _PAIRED_BY


def is_length(difference: str) -> bool:
    """Return whether a line of `differences` is about the length of the run."""
    return difference.split(" ", 1)[0] in LENGTH


def listed(lines: list[str]) -> str:
    """Return the first few lines in one."""
    more = f", and {len(lines) - _MAX_LISTED} more" if len(lines) > _MAX_LISTED else ""
    return ", ".join(lines[:_MAX_LISTED]) + more


def free_id(root: Path, base: str, settings: Mapping[str, Any]) -> str:
    """Return `base`, or `base-2`, `base-3`, ...: the first that no run of other settings has.

    Args:
        root: the folder of the runs.
        base: id by the scheduler or the time.
        settings: settings of this run; see `settings_of`.
    """
    for number in count(1):
        candidate = base if number == 1 else f"{base}-{number}"
        if not differences(root / candidate, settings):
            return candidate
    raise AssertionError


def unused_id(root: Path, base: str) -> str:
    """Return `base`, or `base-2`, ...: the first without a folder.

    Args:
        root: the folder of the runs.
        base: id by the scheduler or the time.
    """
    candidates = (base if number == 1 else f"{base}-{number}" for number in count(1))
    return next(candidate for candidate in candidates if not (root / candidate).exists())


def check_finished(folder: Path, settings: Mapping[str, Any], step: int, max_steps: int) -> str | None:
    """Return a line that the run in `folder` is finished, or None if it goes on.

    Args:
        folder: the run folder.
        settings: settings of this start; see `settings_of`.
        step: optimiser steps done.
        max_steps: steps of the run by this start's settings; negative for no limit.

    Raises:
        BraindinoError: it is finished, and was trained with other settings than those of this start.
    """
    if max_steps < 0 or step < max_steps:
        return None
    changed = [line for line in differences(folder, settings) or [] if not is_length(line)]
    if changed:
        raise BraindinoError(
            f"{folder} is finished ({step} steps done, {max_steps} requested), and was trained with other "
            f"settings: {listed(changed)}.\nGive this run another name with --run.id."
        )
    return (
        f"nothing to train: {folder} is finished ({step} steps done, {max_steps} requested).\n"
        "For more steps raise --trainer.max_steps; another run needs another --run.id."
    )


def _short(key: str) -> str:
    return key.replace(".init_args", "")


def _text(settings: Mapping[str, Any], key: str) -> str:
    value = settings.get(key, _ABSENT)
    return "unset" if value is _ABSENT else str(value)[:60]
