"""Recognise the checkpoints of a run folder by name: files, and folders of shards."""

import re
import zipfile
from pathlib import Path

FOLDER = "checkpoints"
PARTIAL = ".partial"  # ends the hidden name of a checkpoint that is not published yet
# In a sharded checkpoint, Lightning's file of everything except the model's tensors.
METADATA = "meta.pt"
_NAME = re.compile(r"step(\d+)(?:-v(\d+))?\.ckpt")  # Lightning adds -v1 where a name was taken


def checkpoint_name(step: int) -> str:
    """Return the file name of the checkpoint after `step` optimiser steps."""
    return f"step{step:07d}.ckpt"


def run_checkpoints(run: Path) -> tuple[list[Path], list[Path]]:
    """Return the checkpoints of a run, and its `.ckpt` files of other names.

    Args:
        run: the run folder.

    Returns:
        Checkpoints, those of the most steps first; other files by name.
    """
    files = sorted((run / FOLDER).glob("*.ckpt"))
    order = {path: _order(path) for path in files}
    named = [path for path in files if order[path] is not None]
    unnamed = [path for path in files if order[path] is None]
    return sorted(named, key=lambda path: order[path] or (0, 0), reverse=True), unnamed


def _order(path: Path) -> tuple[int, int] | None:
    match = _NAME.fullmatch(path.name)
    return None if match is None else (int(match[1]), int(match[2] or 0))


def is_sharded_checkpoint(path: Path) -> bool:
    """Return whether `path` is a folder that FSDP or model parallelism saved in parts."""
    return path.is_dir() and (path / METADATA).is_file() and (path / ".metadata").is_file()


def seems_whole(path: Path) -> bool:
    """Return whether a checkpoint is complete: a zip file, whose directory comes last."""
    return is_sharded_checkpoint(path) or zipfile.is_zipfile(path)
