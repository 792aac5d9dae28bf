"""Log slices per second, the share of time spent waiting for data, and device memory."""

import time
from typing import Any

import lightning.pytorch as pl
import torch

from braindino.pretraining.distributed import world_size


class ThroughputMonitor(pl.Callback):
    """Log throughput over all processes every few optimiser steps.

    `train/slices_per_second`, `train/data_wait` (share of the time spent waiting for data, 0 to 1) and, on a
    GPU, `train/device_memory_gb` (peak, in GiB).

    Args:
        every: optimiser steps between two measurements.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self._restart()

    def _restart(self) -> None:
        self._begin = self._last = time.perf_counter()
        self._waited, self._slices = 0.0, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._restart()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the time since the last batch as waiting."""
        self._waited += time.perf_counter() - self._last

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the slices, and log when a step is due."""
        self._slices += len(batch["slices"])
        self._last = time.perf_counter()
        accumulating = (batch_idx + 1) % trainer.accumulate_grad_batches
        if accumulating or trainer.global_step % self.every:
            return
        seconds = self._last - self._begin
        pl_module.log("train/slices_per_second", self._slices * world_size() / seconds)
        pl_module.log("train/data_wait", self._waited / seconds)
        if pl_module.device.type == "cuda":
            pl_module.log("train/device_memory_gb", torch.cuda.max_memory_allocated() / 2**30)
        self._restart()
