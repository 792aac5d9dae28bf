"""What happens in a run: entropy and rank of the features, throughput, and the announcement of a collapse."""

import logging
import time
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor
from torch.nn import functional as F

from braindino.pretraining.distributed import world_size

log = logging.getLogger(__name__)


def rankme(features: Tensor) -> Tensor:
    """Effective rank of (N, D): exp of the entropy of its singular values (Garrido et al. 2023)."""
    finite = features.isfinite().all()  # a singular value decomposition of NaN raises
    values = torch.linalg.svdvals(features.float().nan_to_num(0.0, 0.0, 0.0))
    share = values / values.sum().clamp(min=1e-12) + 1e-7
    return torch.where(finite, (-(share * share.log()).sum()).exp(), torch.nan)


@torch.no_grad()
def feature_statistics(cls: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Scalars of the teacher's CLS tokens (N, D) and target probabilities (N, K).

    teacher_entropy: mean entropy of a target in nats (ln K when it is uniform);
    feature_std: mean over dimensions of the standard deviation over samples, features scaled to unit length
        times sqrt(D), so that isotropic features give 1 and a collapse 0;
    rankme: effective rank of the centred features.
    """
    with torch.autocast(cls.device.type, enabled=False):
        cls = cls.float()
        unit = F.normalize(cls, dim=-1) * cls.shape[-1] ** 0.5
        return {
            "teacher_entropy": -torch.special.xlogy(targets, targets).sum(dim=-1).mean(),
            "feature_std": unit.std(dim=0).mean(),
            "rankme": rankme(cls - cls.mean(dim=0)),
        }


class CollapseMonitor(pl.Callback):
    """Says once, as a warning in the log, that prototypes have not started or features have collapsed.

    Args:
        patience: optimiser steps before anything is judged; every run begins with a loss near ln K.
        stuck: DINO loss over ln K above which targets and predictions are as good as uniform.
        least_rank: effective rank of the teacher's CLS tokens below which they are one point or one line.
    """

    def __init__(self, patience: int = 1000, stuck: float = 0.97, least_rank: float = 2.0) -> None:
        self.patience, self.stuck, self.least_rank = patience, stuck, least_rank
        self.announced: set[str] = set()

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Judge the last measurement."""
        every: int = trainer.lightning_module.monitor_every  # type: ignore[assignment]
        metrics = trainer.callback_metrics
        measured = not trainer.global_step % every and "train/rankme" in metrics
        if trainer.global_step < self.patience or not measured:
            return
        ratio, rank = metrics["train/dino_over_lnk"].item(), metrics["train/rankme"].item()
        if ratio > self.stuck:
            self._announce(
                "stuck",
                f"after {trainer.global_step} steps the DINO loss is {ratio:.3f} of ln K: the prototypes "
                "have not started. Fewer prototypes, a larger batch, LayerScale (init_values) "
                "above 1e-5, a larger prototype_norm of the heads, or a lower teacher temperature help.",
            )
        if rank < self.least_rank:
            self._announce(
                "collapsed",
                f"after {trainer.global_step} steps the teacher's features have an effective rank of "
                f"{rank:.2f}: they have collapsed. A lower learning rate or more KoLeo helps.",
            )

    def _announce(self, what: str, message: str) -> None:
        if what not in self.announced:
            self.announced.add(what)
            log.warning(message)


class ThroughputMonitor(pl.Callback):
    """Logs slices per second over all processes, the share of time spent waiting for data, and device memory.

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
        """The batch has arrived."""
        self._waited += time.perf_counter() - self._last

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count, and measure every so many steps."""
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
