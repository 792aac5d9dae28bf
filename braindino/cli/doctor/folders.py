"""Folders: may they be written to, is there space, and what lies there; also runs waiting to be uploaded."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from braindino.cli.doctor.checks import Outcome, gigabytes

FULL = 10**9  # a checkpoint of ViT-B with its optimiser is larger
LITTLE = 20 * 10**9
FEW_INODES = 10_000  # a store needs two files per scan
BYTES_PER_SCAN = 128 * 256 * 256  # of the paper's contract, uint8


def folder(name: str, path: Path) -> Iterator[Outcome]:
    """Writing is tried in the folder, or the nearest one above that is there; nothing is left behind."""
    place = path.absolute()
    if place.exists() and not place.is_dir():
        yield Outcome(name, "FAIL", f"{path} is a file", "name a folder")
        return
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        remedy = f"choose another folder, or ask for the right to write to {place}"
        yield Outcome(name, "FAIL", f"{path}: cannot write there ({error.strerror})", remedy)
        return
    space, inodes = shutil.disk_usage(place).free, os.statvfs(place)
    found = f"{path}: {gigabytes(space)} free"
    if name == "store":
        found += f", room for {space // BYTES_PER_SCAN} scans of the default contract"
    if space < FULL:
        yield Outcome(name, "FAIL", found, "make room, or choose a folder on another disk")
    elif inodes.f_files > 0 and inodes.f_favail < FEW_INODES:
        remedy = "remove files, or choose another disk: a store has two files per scan"
        yield Outcome(name, "WARN", f"{found}, {inodes.f_favail} files may be made", remedy)
    elif space < LITTLE:
        yield Outcome(name, "WARN", found, "little for a store of hundreds of scans and for checkpoints")
    else:
        yield Outcome(name, "PASS", found)


def store(path: Path) -> Iterator[Outcome]:
    """The folder of a store: as any folder, and whether another thing lies there."""
    if path.is_dir() and any(path.iterdir()) and not (path / "contract.json").is_file():
        remedy = "choose a new or empty folder for --store"
        yield Outcome("store", "FAIL", f"{path} holds something that is no store (no contract.json)", remedy)
        return
    yield from folder("store", path)


def wandb(runs: Path, environment: Mapping[str, str] = os.environ) -> Iterator[Outcome]:
    """Weights & Biases: on only by `--run.wandb`; what was logged offline and is not uploaded yet."""
    if mode := environment.get("WANDB_MODE"):
        yield Outcome(
            "WANDB_MODE", "WARN", mode, "not looked at: --run.wandb disabled | offline | online decides"
        )
    waiting = [
        path
        for path in sorted(runs.glob("*/*/wandb/offline-run-*"))
        + sorted(runs.glob("*/*/*/wandb/offline-run-*"))
        if not any(path.glob("*.synced"))
    ]
    found = "logs only when asked to (--run.wandb offline | online)"
    if waiting:
        found = f"{len(waiting)} runs logged offline; `wandb sync {waiting[0]}` uploads one"
    yield Outcome("wandb uploads", "PASS", found)
