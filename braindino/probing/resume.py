"""Checkpoints within a long cell, from which an interrupted study continues."""

import json
import logging
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from braindino.training.checkpoint_io import AtomicCheckpointIO

FILE = "unfinished.ckpt"
EVERY = 60.0  # seconds between two checkpoints of a cell; most cells take less in all
SHARE = 20  # writing takes at most one part in so many of the time
_DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, EOFError, pickle.UnpicklingError)
_log = logging.getLogger(__name__)


class CellCheckpoint(Callback):
    """Save the training of a cell at the end of an epoch, at most once a minute.

    On a CPU a training that is continued gives the same bytes as one that was not interrupted.

    Args:
        folder: folder of the cell.
        batches: training batches. The object that orders them has its random state in an attribute `random`.
    """

    def __init__(self, folder: Path, batches: Any) -> None:
        self.path = folder / FILE
        sampler = getattr(batches, "batch_sampler", batches)
        self._random = getattr(sampler, "random", None)
        self._loaded: dict[str, Any] = {}
        self._pause, self._saved = EVERY, time.monotonic()

    @property
    def state_key(self) -> str:
        """Key of this callback in a checkpoint; fixed, so that it survives a rename of the class."""
        return "Unfinished"

    def start(self) -> Path | None:
        """Restore the order of batches; return the checkpoint that training continues from, if any."""
        if not self.path.is_file():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            self._loaded = content["callbacks"][self.state_key]
            _set_state(self._random, self._loaded["batches"])
        except _DAMAGED as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            _log.warning("%s cannot be read (%s); the cell starts from its beginning", self.path, reason)
            self.remove()
            return None
        return self.path

    def remove(self) -> None:
        """Remove the checkpoint: the cell is finished, or cannot be trained."""
        self.remove_from(self.path.parent)

    @staticmethod
    def remove_from(folder: Path) -> None:
        """Remove the checkpoint of the cell in `folder`, if any."""
        (folder / FILE).unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """Return all random states; Lightning saves everything else."""
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "batches": _state_of(self._random),
        }

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the random state, which building the module has changed."""
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        if self._loaded:
            torch.set_rng_state(self._loaded["torch"])
            if len(self._loaded["cuda"]) == torch.cuda.device_count() > 0:
                torch.cuda.set_rng_state_all(self._loaded["cuda"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save when it is time; not after the last epoch, which the files of the cell follow."""
        started = time.monotonic()
        if trainer.should_stop or started - self._saved < self._pause:
            return
        trainer.save_checkpoint(self.path)
        self._saved = time.monotonic()
        self._pause = max(EVERY, SHARE * (self._saved - started))


def _state_of(random: Any) -> Any:
    if isinstance(random, np.random.Generator):
        return json.dumps(random.bit_generator.state)
    return None if random is None else random.get_state()


def _set_state(random: Any, state: Any) -> None:
    if isinstance(random, np.random.Generator):
        random.bit_generator.state = json.loads(state)
    elif random is not None:
        random.set_state(state)
