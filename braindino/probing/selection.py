"""Which epoch counts: the best on validation, kept in memory; training stops when it does not improve."""

import math
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class BestEpoch(Callback):
    """Keeps the weights of the best epoch and stops `patience` epochs after it.

    The best epoch has the best `val/<metric>` and, among equals, the lowest `val/loss`: a small validation
    part soon reaches an AUROC that it cannot exceed, while its loss still tells. Of equals in both the
    first counts. Where the metric is undefined (a class absent from validation) the loss alone decides.
    Lightning's EarlyStopping knows no second criterion.

    Attributes:
        weights: state of the module after the best epoch; None if no epoch had a finite loss.
        epoch: number of that epoch, from 0.
        selected_by: "val/<metric>" or "val/loss", whichever decided.
        history: one dictionary per epoch with everything that was logged.
    """

    def __init__(self, metric: str, mode: Literal["max", "min"], patience: int) -> None:
        self.metric = f"val/{metric}"
        self.sign = 1.0 if mode == "max" else -1.0
        self.patience = patience
        self.weights: dict[str, Tensor] | None = None
        self.epoch = -1
        self.selected_by = self.metric
        self.history: list[dict[str, float]] = []
        self._best = (-math.inf, -math.inf)

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs to continue; plain values and tensors."""
        return {
            "weights": self.weights,
            "epoch": self.epoch,
            "selected_by": self.selected_by,
            "history": self.history,
            "best": list(self._best),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue after the epochs of an interrupted training."""
        self.weights, self.epoch = state_dict["weights"], state_dict["epoch"]
        self.selected_by, self.history = state_dict["selected_by"], list(state_dict["history"])
        self._best = tuple(state_dict["best"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the epoch that ends; its validation has been run."""
        logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
        epoch = trainer.current_epoch
        self.history.append({"epoch": epoch, **dict(sorted(logged.items()))})
        quality = logged[self.metric]
        if math.isnan(quality):
            self.selected_by, quality = "val/loss", 0.0
        score = (self.sign * quality, -logged["val/loss"])
        if all(math.isfinite(part) for part in score) and score > self._best:
            self._best, self.epoch = score, epoch
            self.weights = {name: value.detach().clone() for name, value in pl_module.state_dict().items()}
        if epoch - self.epoch >= self.patience:
            trainer.should_stop = True
