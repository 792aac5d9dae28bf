"""Nearest-neighbour agreement on a label in the teacher's features, during pretraining."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

from braindino.analysis.neighbours import neighbour_mean
from braindino.errors import BraindinoError
from braindino.pretraining.callbacks.labelled_scans import LabelledScans, Task
from braindino.pretraining.callbacks.stored_slices import store_of, stored_slice, takes_part, teacher_tokens
from braindino.pretraining.module import DINOModule
from braindino.scans.store.store import Store

BATCH = 64  # slices that go through the teacher at once


class KNNMonitor(pl.Callback):
    """Log `knn/accuracy` or `knn/r2` of the teacher's frozen features every few steps.

    A scan's feature is the mean CLS token of some of its slices; neighbours are searched by cosine similarity
    among other people's scans (method.md "Probes"). Labels serve this number only, never the training. It is
    computed by the first process while the others wait (by all where weights are sharded), so `scans` and
    `slices` keep it small.

    Args:
        manifest: CSV of `braindino index`. With a column `split` in it, `train` is searched for neighbours of
            `val`; else 30 % of the people are set apart. Only labelled scans in the training's store count.
        target: column of the label.
        task: "classification" logs accuracy, "regression" R2.
        every: optimiser steps between two measurements.
        scans: maximum number of scans.
        slices: number of slices per scan, evenly spaced over those with foreground.
        neighbours: k; at most a third of the scans that are searched.
        seed: seed of the choice of scans, and of the people set apart.

    Raises:
        BraindinoError: a number below 1; when the training starts, no store, no such column, or too few
            labelled scans in the store.
    """

    def __init__(
        self,
        manifest: Path,
        target: str,
        task: Task = "classification",
        every: int = 1000,
        scans: int = 200,
        slices: int = 8,
        neighbours: int = 10,
        seed: int = 0,
    ) -> None:
        if min(every, scans, slices, neighbours) < 1:
            raise BraindinoError("KNNMonitor: every, scans, slices and neighbours must be at least 1.")
        self.labelled = LabelledScans(Path(manifest), target, task, scans, seed, type(self).__name__)
        self.every, self.slices, self.neighbours = every, slices, neighbours
        self.cases = pd.DataFrame()
        self._measured = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the scans.

        Raises:
            BraindinoError: no store, no such column, or too few labelled scans in the store.
        """
        self.cases = self.labelled.choose(store_of(trainer, type(self).__name__))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the step that the run starts from as measured: a continued run has its value already."""
        self._measured = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        """Measure and log, on the first process, when a step is due."""
        step = trainer.global_step
        if step % self.every or step == self._measured or not takes_part(trainer):
            return
        self._measured = step
        assert isinstance(pl_module, DINOModule)
        features = self._features(trainer, pl_module)
        if not trainer.is_global_zero:
            return
        name, value = self.score(features)
        for logger in trainer.loggers:
            # Rows count from 0, as Lightning's do.
            logger.log_metrics({f"knn/{name}": value}, step - 1)

    def score(self, features: npt.NDArray[np.float32]) -> tuple[str, float]:
        """Return name and value of the score.

        Args:
            features: (scans, D), in the order of `cases`.

        Returns:
            "accuracy" or "r2", and its value; NaN for R2 where all validation targets are equal.
        """
        train = (self.cases["split"] == "train").to_numpy()
        target = self.cases[self.labelled.target].to_numpy()
        k = max(1, min(self.neighbours, int(train.sum()) // 3))
        if self.labelled.task == "regression":
            known = target.astype(np.float64)
            predicted = neighbour_mean(features[train], known[train], features[~train], k)
            total = np.square(known[~train] - known[~train].mean()).sum()
            residual = np.square(known[~train] - predicted).sum()
            return "r2", float(1 - residual / total) if total > 0 else float("nan")
        classes, numbers = np.unique(target, return_inverse=True)
        shares = neighbour_mean(features[train], np.eye(len(classes))[numbers[train]], features[~train], k)
        return "accuracy", float((shares.argmax(axis=1) == numbers[~train]).mean())

    def _features(self, trainer: pl.Trainer, module: DINOModule) -> npt.NDArray[np.float32]:
        """Return the mean CLS token of each scan: (scans, D)."""
        store = store_of(trainer, type(self).__name__)
        index = store.index().drop_duplicates("key").set_index("key").loc[self.cases["key"]]
        slices = list(self._every_slice(store, index))
        cls = []
        for start in range(0, len(slices), BATCH):
            batch = torch.stack(slices[start : start + BATCH])[:, None]
            cls.append(teacher_tokens(trainer, module, batch)[0])
        features = torch.cat(cls).reshape(len(self.cases), self.slices, -1).mean(dim=1)
        return features.cpu().numpy().astype(np.float32)

    def _every_slice(self, store: Store, index: pd.DataFrame) -> Iterator[torch.Tensor]:
        for key, row in index.iterrows():
            for i in np.linspace(row["first"], row["last"], self.slices).round().astype(int):
                yield stored_slice(store, str(key), int(i), float(row["scale"]), float(row["zero_point"]))
