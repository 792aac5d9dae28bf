"""Base of the callbacks that train a head on the frozen teacher while pretraining goes on."""

import logging
from collections.abc import Callable

import lightning.pytorch as pl
import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from braindino.errors import BraindinoError
from braindino.pretraining.callbacks.stored_slices import teacher_tokens
from braindino.pretraining.distributed import gather_rows, rank, world_size
from braindino.pretraining.module import DINOModule

log = logging.getLogger(__name__)
SCANS_AT_ONCE = 8  # that go through the teacher together


class OnlineCallback(pl.Callback):
    """Measure every `every_n_steps` optimiser steps and log the value; a subclass computes it.

    All processes take part: each computes the features of its share of the scans, all fit the same head, each
    evaluates its share of the validation rows, and torchmetrics synchronises. The training is not changed: no
    gradient reaches the networks, and the state of the random generators is restored.

    Args:
        every_n_steps: optimiser steps between two measurements.
        scans: maximum number of scans.
        slices: number of slices per scan.
        weight_decay: L2 penalty of the head.
        seed: seed of the choice of scans, and of the people set apart.

    Attributes:
        metric: name under which the value is logged.
        undefined: whether the labels give no value, whatever the features are.

    Raises:
        BraindinoError: a number out of range.
    """

    metric = ""

    def __init__(self, every_n_steps: int, scans: int, slices: int, weight_decay: float, seed: int) -> None:
        name = type(self).__name__
        if min(every_n_steps, scans, slices) < 1:
            raise BraindinoError(f"{name}: every_n_steps, scans and slices must be at least 1.")
        if weight_decay <= 0:
            raise BraindinoError(f"{name}: weight_decay {weight_decay} is not possible; expected above 0.")
        self.every_n_steps, self.scans, self.slices = every_n_steps, scans, slices
        self.weight_decay, self.seed = weight_decay, seed
        self.undefined = False
        self._warned = False
        self._measured_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the step that the run starts from as measured: a continued run has its value already."""
        self._measured_step = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: object) -> None:
        """Measure and log, when a step is due; called by all processes after the same step."""
        step = trainer.global_step
        if self.undefined or step % self.every_n_steps or step == self._measured_step:
            return
        self._measured_step = step
        assert isinstance(pl_module, DINOModule)
        with isolate_rng():
            value = self.measure(trainer, pl_module)
        if value is None:
            self.skip("the teacher's features are not finite")
            return
        trainer.callback_metrics[self.metric] = value
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                # Rows count from 0, as Lightning's do.
                logger.log_metrics({self.metric: value.item()}, step - 1)

    def measure(self, trainer: pl.Trainer, module: DINOModule) -> Tensor | None:
        """Return the value of this moment, a scalar equal on all processes.

        Returns:
            The value, or None if the features are not finite.
        """
        raise NotImplementedError

    def skip(self, reason: str) -> None:
        """Warn on the first process, once in a run, that no value is logged, with the reason."""
        if not self._warned and rank() == 0:
            log.warning("%s: %s is not logged: %s.", type(self).__name__, self.metric, reason)
        self._warned = True


def gather_features(
    trainer: pl.Trainer,
    module: DINOModule,
    count: int,
    images_of: Callable[[int], Tensor],
    reduce: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Return features of all scans on every process; each computes its share.

    Args:
        trainer: trainer of the run.
        module: module whose teacher is used, frozen.
        count: N, the number of scans.
        images_of: slices (S, H, W) of scan i, with S the same for all.
        reduce: takes CLS tokens (n, S, D) and patch tokens (n, S, P, D) of n scans to features (n, ...).

    Returns:
        (N, ...) float32 on the module's device, in the order of the scans.
    """
    # Every process has as many slots, so that all call the teacher equally often, as sharded weights need.
    # The last slots of some processes repeat the last scan.
    processes = world_size()
    slots = -(-count // processes)
    indices = [min(slot * processes + rank(), count - 1) for slot in range(slots)]
    features = []
    for start in range(0, slots, SCANS_AT_ONCE):
        images = torch.stack([images_of(i) for i in indices[start : start + SCANS_AT_ONCE]])
        cls, patches = teacher_tokens(trainer, module, images.flatten(0, 1)[:, None])
        scans = images.shape[:2]
        features.append(reduce(torch.unflatten(cls, 0, scans), torch.unflatten(patches, 0, scans)))
    gathered = gather_rows(torch.cat(features))
    return gathered[[i % processes * slots + i // processes for i in range(count)]]


def share_of_process(rows: Tensor) -> Tensor:
    """Return this process's share of rows; all of them if there are fewer than processes.

    torchmetrics cannot synchronise a metric that one process has not updated. Counting every row once per
    process changes none of the metrics, which are means or ratios over rows.
    """
    return rows[rank() :: world_size()] if len(rows) >= world_size() else rows
