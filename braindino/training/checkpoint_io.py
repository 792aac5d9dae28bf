"""Write a Lightning checkpoint beside its target and rename it when it is complete."""

import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from braindino.errors import BraindinoError
from braindino.files import atomic_write
from braindino.training.checkpoint_names import PARTIAL


class AtomicCheckpointIO(TorchCheckpointIO):
    """Write a checkpoint beside its target, flush it to disk, and rename it.

    Lightning's own writes it into memory, then into `TMPDIR`, and copies it from there: a small `TMPDIR` ends
    the run, and a full disk leaves half a file under the final name.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Save `checkpoint` as `path`.

        Raises:
            BraindinoError: the disk is full or cannot be written to.
        """
        with explained(Path(path)), atomic_write(Path(path), "wb") as file:
            sink = _Sink(file)
            try:
                torch.save(checkpoint, cast(IO[bytes], sink))
            except (OSError, RuntimeError, pickle.PicklingError):
                # torch reports a failed write as another error.
                if sink.error is not None:
                    raise sink.error from None
                raise


class _Sink:
    """File that torch writes to; saves the error of the disk, which torch replaces by another.

    Attributes:
        file: the open file.
        error: first error of the disk; None if there was none.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write to the file."""
        try:
            return self._write(data)
        except OSError as error:
            self.error = self.error or error
            raise

    def _write(self, data: Any) -> int:
        return self.file.write(data)

    def flush(self) -> None:
        """Flush the file."""
        self.file.flush()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Raise BraindinoError, with the free space of the disk, for an error in writing `path`."""
    try:
        yield
    except OSError as error:
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free / 1e6
        name = path.name.removeprefix(".").removesuffix(PARTIAL)
        raise BraindinoError(
            f"{path.with_name(name)}: the checkpoint cannot be written ({error.strerror or error}); "
            f"{free:,.1f} MB are free on the disk of {folder}.\n"
            "Free some space; the same command with the run's --run.id then continues from the last complete "
            "checkpoint."
        ) from error
