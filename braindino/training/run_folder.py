"""Run folders: their names, options, locks and the record of the environment."""

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
GIT_TIMEOUT = 30  # seconds
_REPORTED = (
    "torch",
    "torchvision",
    "lightning",
    "timm",
    "monai",
    "nibabel",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "scikit-survival",
    "statsmodels",
    "matplotlib",
)


@dataclass
class RunOptions:
    """Location of a run: `<root>/<name>/<id>/`.

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
        """Refuse names that are not those of one folder."""
        for key in ("name", "id"):
            if (value := getattr(self, key)) is not None:
                folder_name(value, f"run.{key}")


@dataclass
class ProbeOptions(RunOptions):
    """Location of a probe: `<root>/<name>/<encoder>/<id>/`; the config gives the default id.

    Args:
        encoder: name of the encoder's folder; by default the last part of its path.
    """

    encoder: str | None = None

    def __post_init__(self) -> None:
        """Refuse names that are not those of one folder."""
        super().__post_init__()
        if self.encoder is not None:
            folder_name(self.encoder, "run.encoder")


@dataclass
class FitOptions(RunOptions):
    """Location of a run that trains, and how often it saves checkpoints.

    Args:
        checkpoint_every: optimiser steps between checkpoints; the last two stay.
    """

    checkpoint_every: int = 1000

    def __post_init__(self) -> None:
        """Refuse names that are not those of one folder, and an interval below 1."""
        super().__post_init__()
        if self.checkpoint_every < 1:
            raise BraindinoError(f"run.checkpoint_every {self.checkpoint_every}: expected 1 or more.")

    @property
    def folder(self) -> Path:
        """Return the run folder."""
        return self.root / self.name / (self.id or default_id())

    @property
    def checkpoints(self) -> Path:
        """Return the folder of the run's checkpoints."""
        return self.folder / "checkpoints"


def default_id() -> str:
    """Return one id for all processes of a run: of the scheduler, the launcher, or the time.

    The time is passed by the environment to the processes that this one starts.

    Raises:
        BraindinoError: the id is not the name of one folder.
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
def temporary_id() -> Iterator[None]:
    """Remove the id from the environment when the block ends: the next run is another one."""
    given = os.environ.get(ID_VARIABLE)
    try:
        yield
    finally:
        if given is None:
            os.environ.pop(ID_VARIABLE, None)


@contextmanager
def locked_run_folder(folder: Path) -> Iterator[None]:
    """Lock the run folder of a `fit` while the block runs; remove files of a killed run.

    Args:
        folder: the run folder.

    Raises:
        BraindinoError: another process runs in the folder.
    """
    with locked(folder, "run folder", "give this run another folder with --run.id"):
        remove_leftovers(folder)
        remove_partial(folder)
        yield


def write_environment(folder: Path) -> None:
    """Add this start to `environment.json`; earlier starts of the run stay in it.

    Args:
        folder: the run folder.
    """
    path = folder / "environment.json"
    starts = read_json(path, Environment)["starts"] if path.is_file() else []
    write_json(path, {"starts": [*starts, environment()]})


def environment() -> dict[str, Any]:
    """Return command, versions, commit and machine, as needed to repeat a run."""
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
    """Return the commit of the package's checkout; None if it is installed, or without git."""
    checkout = PACKAGE.parent
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=GIT_TIMEOUT)
    # No git on the PATH, or a disk that does not respond.
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
