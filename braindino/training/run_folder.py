"""Run folders: where a run writes, under which name, and how it finds itself again after an interruption."""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from braindino.analysis.schemas.environment import Environment
from braindino.errors import BraindinoError
from braindino.files import folder_name, read_json, remove_leftovers, write_json
from braindino.locks import locked
from braindino.training.checkpoint_files import remove_partial
from braindino.training.slurm import slurm_id
from braindino.version import PACKAGE, __version__

ID_VARIABLE = "BRAINDINO_RUN_ID"
GIT_PATIENCE = 30  # seconds
_REPORTED = (
    *("torch", "torchvision", "lightning", "timm", "monai", "nibabel", "numpy", "scipy", "pandas"),
    *("scikit-learn", "scikit-survival", "statsmodels", "matplotlib"),
)


@dataclass
class RunOptions:
    """Where the run writes: `<root>/<name>/<id>/`.

    Args:
        root: folder of all runs.
        name: the task, e.g. `pretrain`.
        id: name of this run. A run of the same id continues where it stopped. Default: the batch job's id
            under SLURM (so a requeued job continues; a further run of the job with other settings has -2
            added) or torchrun, else date and time.
        wandb: also log to Weights & Biases; `offline` needs no network (`wandb sync` uploads later).
    """

    root: Path = Path("runs")
    name: str = "pretrain"
    id: str | None = None
    wandb: Literal["disabled", "offline", "online"] = "disabled"

    def __post_init__(self) -> None:
        """Refuse ids that are no names of a folder."""
        for key in ("name", "id"):
            if (value := getattr(self, key)) is not None:
                folder_name(value, f"run.{key}")


@dataclass
class ProbeOptions(RunOptions):
    """Of a probe: `<root>/<name>/<encoder>/<id>/`; the id follows from the config if none is given.

    Args:
        encoder: name of the encoder's folder; by default the last part of its path.
    """

    encoder: str | None = None

    def __post_init__(self) -> None:
        """Refuse names that are no names of a folder."""
        super().__post_init__()
        if self.encoder is not None:
            folder_name(self.encoder, "run.encoder")


@dataclass
class FitOptions(RunOptions):
    """Of a run that trains, which also keeps checkpoints.

    Args:
        checkpoint_every: optimiser steps between checkpoints; the last two are kept.
    """

    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        super().__post_init__()
        if self.checkpoint_every < 1:
            raise BraindinoError(f"run.checkpoint_every {self.checkpoint_every}: expected 1 or more.")

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.root / self.name / (self.id or default_id())

    @property
    def checkpoints(self) -> Path:
        """Where the run's checkpoints are."""
        return self.folder / "checkpoints"


def default_id() -> str:
    """Return one id for every process of a run: from the environment, the scheduler, or else the time.

    The time is handed down by environment, to the processes that this one starts.

    Raises:
        BraindinoError: the id is no name of a folder.
    """
    slurm, elastic = slurm_id(), os.environ.get("TORCHELASTIC_RUN_ID", "none")
    if slurm:
        return folder_name(slurm, "the id of the SLURM job")
    if elastic != "none":
        return folder_name(f"torchrun-{elastic}", "torchrun's --rdzv-id")
    now = datetime.now().strftime("%Y%m%d-%H%M%S")
    return folder_name(os.environ.setdefault(ID_VARIABLE, now), ID_VARIABLE)


def is_automatic(id: str | None) -> bool:
    """Return whether a run without a given id is named by a scheduler, a launcher or the time."""
    return id is None and ID_VARIABLE not in os.environ


@contextmanager
def own_id() -> Iterator[None]:
    """Forget, when the block ends, the id that it handed down: the next run is another one."""
    given = os.environ.get(ID_VARIABLE)
    try:
        yield
    finally:
        if given is None:
            os.environ.pop(ID_VARIABLE, None)


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Lock the run folder of a `fit` while the block runs; remove what a killed one had begun to write.

    Raises:
        BraindinoError: another process runs in the folder.
    """
    with locked(folder, "run folder", "give this run a folder of its own with --run.id"):
        remove_leftovers(folder)
        remove_partial(folder)
        yield


def write_environment(folder: Path) -> None:
    """`environment.json`: versions, machine and the exact command; earlier starts of the run are kept."""
    path = folder / "environment.json"
    starts = read_json(path, Environment)["starts"] if path.is_file() else []
    write_json(path, {"starts": [*starts, environment()]})


def environment() -> dict[str, Any]:
    """What is needed to repeat a run: command, versions, commit, machine."""
    import torch

    return {
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "command": ["braindino", *sys.argv[1:]],
        "folder": str(Path.cwd()),
        "braindino": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in _REPORTED},
        "devices": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] or ["cpu"],
        "threads": torch.get_num_threads(),
    }


def _version(package: str) -> str | None:
    """Return the installed version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the checkout that the package runs from; None if installed, or without git."""
    checkout = PACKAGE.parent
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GIT_PATIENCE)
    except (OSError, subprocess.TimeoutExpired):  # no git on the PATH, or a disk that does not answer
        return None
    return result.stdout.strip() or None
