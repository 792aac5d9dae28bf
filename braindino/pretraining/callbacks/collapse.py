"""Warn once in the log when the prototypes have not started or the features have collapsed."""

import logging
from typing import Any

import lightning.pytorch as pl

log = logging.getLogger(__name__)


class CollapseMonitor(pl.Callback):
    """Warn once in the log when prototypes have not started or features have collapsed.

    Args:
        patience: optimiser steps before anything is judged; every run begins with a loss near ln K.
        stuck: DINO loss over ln K above which targets and predictions are as good as uniform.
        least_rank: effective rank of the teacher's CLS tokens below which they are one point or one line.
    """

    def __init__(self, patience: int = 1000, stuck: float = 0.97, least_rank: float = 2.0) -> None:
        self.patience, self.stuck, self.least_rank = patience, stuck, least_rank
        self.announced: set[str] = set()

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        """Compare the last measurement with the limits."""
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
