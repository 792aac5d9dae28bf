"""Online linear probe: a head on the teacher's features of labelled scans, every few steps."""

from pathlib import Path

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAUROC
from torchmetrics.regression import R2Score

from braindino.pretraining.callbacks.labelled_scans import LabelledScans, Task
from braindino.pretraining.callbacks.linear_head import fit_linear_head
from braindino.pretraining.callbacks.online_callback import (
    OnlineCallback,
    gather_features,
    share_of_process,
)
from braindino.pretraining.callbacks.stored_slices import store_of, stored_slice
from braindino.pretraining.module import DINOModule

PARTS = ("train", "val")


class OnlineProbe(OnlineCallback):
    """Log `val/online_auroc` or `val/online_r2` of a linear head on the frozen teacher.

    A scan's features are the CLS token and the mean patch token, averaged over some of its slices. The head,
    a multinomial logistic regression or a ridge regression, is fitted from zero each time on the scans of the
    training people, and evaluated on those of the validation people. Labels serve this number only, never the
    training of the network.

    Classification logs the macro average of the one-vs-rest AUROC over the classes that have scans in both
    parts. A value that is not defined, as with one class only in validation, is not logged: one warning names
    the reason.

    Args:
        manifest: CSV of `braindino index`. With a column `split` in it, `train` and `val` are used; else 30 %
            of the people are set apart for validation. Only labelled scans in the training's store count.
        target: column of the label.
        task: "classification" logs AUROC, "regression" R2.
        every_n_steps: optimiser steps between two measurements.
        scans: maximum number of scans.
        slices: number of slices per scan, evenly spaced over those with foreground.
        weight_decay: L2 penalty of the head, on features whose rows have length 1 on average.
        seed: seed of the choice of scans, and of the people set apart.

    Raises:
        BraindinoError: a number out of range; when the training starts, no store, no such column, or too few
            labelled scans in the store.
    """

    def __init__(
        self,
        manifest: Path,
        target: str,
        task: Task = "classification",
        every_n_steps: int = 1000,
        scans: int = 200,
        slices: int = 8,
        weight_decay: float = 1e-3,
        seed: int = 0,
    ) -> None:
        super().__init__(every_n_steps, scans, slices, weight_decay, seed)
        self.labelled = LabelledScans(Path(manifest), target, task, scans, seed, type(self).__name__)
        self.metric = "val/online_auroc" if task == "classification" else "val/online_r2"
        self._table = pd.DataFrame()
        self._classes: list[str] = []

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Choose the scans, and warn if their labels cannot give a value."""
        store = store_of(trainer, type(self).__name__)
        table = self.labelled.choose(store)
        self._classes = []
        if self.labelled.task == "classification":
            train, val = (set(table.loc[table["split"] == part, self.labelled.target]) for part in PARTS)
            self._classes = sorted(train & val)
            table = table[table[self.labelled.target].isin(self._classes)]
        index = store.index().drop_duplicates("key").set_index("key")
        self._table = table.join(index[["first", "last", "scale", "zero_point"]], on="key").reset_index(
            drop=True
        )
        reason = self._undefined()
        self.undefined = bool(reason)
        if reason:
            self.skip(reason)

    def _undefined(self) -> str:
        """Return why the labels give no value, or nothing."""
        target = self.labelled.target
        if self.labelled.task == "classification":
            if len(self._classes) > 1:
                return ""
            classes = f"only {self._classes[0]!r}" if self._classes else "no class"
            return f"of column {target!r}, {classes} has scans of training and of validation people"
        for part, name in zip(PARTS, ("training", "validation"), strict=True):
            if self._table.loc[self._table["split"] == part, target].nunique() < 2:
                return f"the {name} people have fewer than two different values of {target!r}"
        return ""

    def measure(self, trainer: pl.Trainer, module: DINOModule) -> Tensor | None:
        """Fit the head on the features of this moment and return its score."""
        store = store_of(trainer, type(self).__name__)
        rows = self._table.to_dict("records")

        def images_of(i: int) -> Tensor:
            row = rows[i]
            positions = np.linspace(row["first"], row["last"], self.slices).round().astype(int)
            slices = [
                stored_slice(store, row["key"], int(p), row["scale"], row["zero_point"]) for p in positions
            ]
            return torch.stack(slices)

        features = gather_features(trainer, module, len(rows), images_of, _pool)
        return self.score(features)

    def score(self, features: Tensor) -> Tensor | None:
        """Return the score of a head fitted to the features of this moment.

        Args:
            features: (N, D) of the chosen scans.

        Returns:
            A scalar, equal on all processes; None if the features are not finite.
        """
        if not features.isfinite().all():
            return None
        device = features.device
        features = features.double().cpu()  # few rows; the fit is exact to the last digit logged
        is_train = torch.tensor((self._table["split"] == "train").tolist())
        labels = self._table[self.labelled.target]
        if self.labelled.task == "classification":
            targets = torch.tensor([self._classes.index(label) for label in labels])
            head = fit_linear_head(
                features[is_train], targets[is_train], len(self._classes), F.cross_entropy, self.weight_decay
            )
            metric: Metric = MulticlassAUROC(len(self._classes), average="macro")
            outputs = head(features[~is_train]).softmax(dim=1)
        else:
            values = torch.tensor(labels.tolist(), dtype=torch.float64)
            targets = (values - values[is_train].mean()) / values[is_train].std(correction=0)
            head = fit_linear_head(
                features[is_train], targets[is_train][:, None], 1, F.mse_loss, self.weight_decay
            )
            metric = R2Score()
            outputs = head(features[~is_train])[:, 0]
        metric = metric.to(device)
        metric.update(*(share_of_process(rows).to(device) for rows in (outputs.float(), targets[~is_train])))
        value: Tensor = metric.compute()
        return value


def _pool(cls: Tensor, patches: Tensor) -> Tensor:
    """Return CLS and mean patch token, averaged over slices.

    Args:
        cls: (n, S, D) of n scans of S slices.
        patches: (n, S, P, D).

    Returns:
        (n, 2 D).
    """
    return torch.cat([cls.mean(dim=1), patches.mean(dim=(1, 2))], dim=-1)
