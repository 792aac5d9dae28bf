"""Tests of online probes on several processes: a module that does not learn, a saved metric."""

import json
from pathlib import Path

import lightning.pytorch as pl

from braindino.pretraining import DINOModule
from braindino.pretraining.optimiser import OptimiserConfig
from tests.helpers.tiny_module import tiny_module


def frozen_module() -> DINOModule:
    """Return a module whose weights never change, so that features do not depend on batches."""
    return tiny_module(optimiser=OptimiserConfig(lr=0.0, warmup_steps=0, freeze_prototypes_steps=0))


class SaveMetric(pl.Callback):
    """Write a metric's value on every process to `<folder>/<rank>.json`."""

    def __init__(self, folder: Path, metric: str) -> None:
        self.folder, self.metric = folder, metric

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        value = trainer.callback_metrics[self.metric].item()
        (self.folder / f"{trainer.global_rank}.json").write_text(json.dumps(value))
