"""Give the checkpoints of a run their names when they are complete, and remove old ones."""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from braindino.training.checkpoint_io import explained
from braindino.training.checkpoint_names import FOLDER, PARTIAL, run_checkpoints, seems_whole

MAX_CHECKPOINTS = 2  # checkpoints of a run that stay


def partial_of(path: Path) -> Path:
    """Return the hidden name under which a checkpoint, file or folder, is written."""
    return path.with_name(f".{path.name}{PARTIAL}")


def publish(path: Path) -> None:
    """Rename a complete checkpoint, and remove all but the last `MAX_CHECKPOINTS` of its run.

    The one just written stays, whatever the clocks of two machines show, and the newest of the others that
    are complete. Files of other names are not touched.

    Args:
        path: final name of the checkpoint that lies at `partial_of(path)`.

    Raises:
        BraindinoError: the disk cannot be written to.
    """
    with explained(path):
        partial = partial_of(path)
        if partial.is_dir() or path.is_dir():
            remove(path)
        partial.replace(path)
        _flush_folder(path.parent)
    earlier = [file for file in run_checkpoints(path.parent.parent)[0] if file != path]
    earlier.sort(key=lambda file: (seems_whole(file), file.stat().st_mtime))
    for file in earlier[: -(MAX_CHECKPOINTS - 1)]:
        remove(file)


def remove_partial(run: Path) -> None:
    """Remove partial checkpoints of a killed run."""
    for partial in (run / FOLDER).glob(f".*{PARTIAL}"):
        remove(partial)


def remove(path: Path) -> None:
    """Remove a checkpoint, a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Flush a new name to disk, where the file system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
