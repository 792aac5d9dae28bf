"""Interrupt the training of a cell in the middle of an epoch, as Ctrl-C does."""

from collections.abc import Callable, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer


class StopInEpoch(Callback):
    """Raise KeyboardInterrupt after the first batch of an epoch.

    Args:
        epoch: number of the epoch, from 0.
    """

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


def interrupted(make_trainer: Callable[..., Trainer], epoch: int) -> Callable[..., Trainer]:
    """Return `make_trainer` with trainers that stop in an epoch.

    Args:
        make_trainer: see `run_study`.
        epoch: number of the epoch, from 0.
    """

    def make(callbacks: Sequence[Callback] = (), **options: Any) -> Trainer:
        # The study makes one without callbacks to ask for its device.
        return make_trainer(callbacks=[*callbacks, StopInEpoch(epoch)] if callbacks else None, **options)

    return make
