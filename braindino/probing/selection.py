"""Selection of the best epoch on validation, in memory, and early stopping."""

import math
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class BestEpoch(Callback):
    """Save the weights of the best epoch, and stop `patience` epochs after it.

    The best epoch has the best `val/<metric>`, among equals the lowest `val/loss`, among equals in both it is
    the first. The loss is needed because a small validation part soon reaches an AUROC that it cannot exceed.
    If the metric is undefined (a class is absent from validation), the loss alone is the criterion.
    Lightning's EarlyStopping has no second criterion.

    Args:
        metric: name of the metric, without "val/".
        mode: the better direction of the metric.
        patience: number of epochs.

    Attributes:
        weights: state of the module after the best epoch; None if no epoch had a finite loss.
        epoch: number of that epoch, from 0.
        selected_by: "val/<metric>" or "val/loss", the criterion that was used.
        history: one dictionary per epoch with all logged values.
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
        """Return the state for `load_state_dict`: plain values and tensors."""
        return {
            "weights": self.weights,
            "epoch": self.epoch,
            "selected_by": self.selected_by,
            "history": self.history,
            "best": list(self._best),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of an interrupted training."""
        self.weights, self.epoch = state_dict["weights"], state_dict["epoch"]
        self.selected_by, self.history = state_dict["selected_by"], list(state_dict["history"])
        self._best = tuple(state_dict["best"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare the epoch that ends, after its validation, with the best one."""
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
