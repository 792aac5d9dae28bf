"""Check folders: write permission, free space and content; and runs to upload."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from braindino.cli.doctor.checks import Outcome, gigabytes

FULL = 10**9  # bytes; a checkpoint of ViT-B with its optimiser is larger
RECOMMENDED_SPACE = 20 * 10**9
MIN_INODES = 10_000  # a store needs two files per scan
BYTES_PER_SCAN = 128 * 256 * 256  # of the paper's contract, uint8


def folder(name: str, path: Path) -> Iterator[Outcome]:
    """Check a folder, or its nearest existing parent, by writing a temporary file.

    Args:
        name: name of the outcome.
        path: the folder.
    """
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
        remedy = f"choose another folder, or get write permission for {place}"
        yield Outcome(name, "FAIL", f"{path}: cannot write there ({error.strerror})", remedy)
        return
    space, inodes = shutil.disk_usage(place).free, os.statvfs(place)
    detail = f"{path}: {gigabytes(space)} free"
    if name == "store":
        detail += f", room for {space // BYTES_PER_SCAN} scans of the default contract"
    if space < FULL:
        yield Outcome(name, "FAIL", detail, "make room, or choose a folder on another disk")
    elif inodes.f_files > 0 and inodes.f_favail < MIN_INODES:
        remedy = "remove files, or choose another disk: a store has two files per scan"
        yield Outcome(name, "WARN", f"{detail}, {inodes.f_favail} files may be made", remedy)
    elif space < RECOMMENDED_SPACE:
        yield Outcome(name, "WARN", detail, "little for a store of hundreds of scans and for checkpoints")
    else:
        yield Outcome(name, "PASS", detail)


def store(path: Path) -> Iterator[Outcome]:
    """Check the folder of a store: like any folder, and for other content."""
    if path.is_dir() and any(path.iterdir()) and not (path / "contract.json").is_file():
        remedy = "choose a new or empty folder for --store"
        yield Outcome("store", "FAIL", f"{path} has content that is not a store (no contract.json)", remedy)
        return
    yield from folder("store", path)


def wandb(runs: Path, environment: Mapping[str, str] = os.environ) -> Iterator[Outcome]:
    """Check Weights & Biases, which logs only with `--run.wandb`, for offline runs to upload."""
    if mode := environment.get("WANDB_MODE"):
        yield Outcome("WANDB_MODE", "WARN", mode, "ignored: --run.wandb disabled | offline | online decides")
    waiting = [
        path
        for path in sorted(runs.glob("*/*/wandb/offline-run-*"))
        + sorted(runs.glob("*/*/*/wandb/offline-run-*"))
        if not any(path.glob("*.synced"))
    ]
    detail = "logs only with --run.wandb offline | online"
    if waiting:
        detail = f"{len(waiting)} runs logged offline; `wandb sync {waiting[0]}` uploads one"
    yield Outcome("wandb uploads", "PASS", detail)
