"""Callbacks of the training of a cell: the best epoch, checkpoints, and progress."""

import json
import logging
import math
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from braindino.progress import ProgressReport
from braindino.training.checkpoint_io import AtomicCheckpointIO

MakeTrainer = Callable[..., Trainer]
CHECKPOINT = "unfinished.ckpt"
# Seconds between two checkpoints of a cell; most cells take less in all.
EVERY = 60.0
# Writing takes at most 1 / SHARE of the time.
SHARE = 20
_DAMAGED = (OSError, RuntimeError, KeyError, ValueError, TypeError, EOFError, pickle.UnpicklingError)
_log = logging.getLogger(__name__)
# Validation metrics beside the bar.
SHOWN = 2


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


class AveragedWeights(Callback):
    """Evaluate and save an exponential moving average of the trained weights instead of the last ones.

    A single step changes it little, so that the best epoch of a small validation part is less a matter of
    luck. It must follow `BestEpoch` in the list of callbacks, and precede `CellCheckpoint`: validation and
    `BestEpoch` see the average, optimiser and checkpoint the weights. The decay rises as (1 + n) / (10 + n)
    over the first steps n, as in TensorFlow and timm, so that the initial weights are soon forgotten.

    Lightning's EMAWeightAveraging copies the whole module, with the frozen encoder, and restores the weights
    before `BestEpoch` could save their average.

    Args:
        decay: share of the average that a step keeps, 0 to 1.

    Attributes:
        average: averaged value of each trained parameter by name; empty before the first step.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        self._last: dict[str, Tensor] = {}
        self._loaded: dict[str, Tensor] = {}

    @property
    def state_key(self) -> str:
        """Return the key of this callback in a checkpoint; it survives a rename of the class."""
        return "AveragedWeights"

    def state_dict(self) -> dict[str, Any]:
        """Return the average for `load_state_dict`."""
        return {"average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the average of an interrupted training."""
        self._loaded = state_dict["average"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with the initial weights, or with the average of an interrupted training."""
        start = self._loaded or self._trained(pl_module)
        self.average = {name: value.detach().to(pl_module.device).clone() for name, value in start.items()}

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the average towards the weights."""
        steps = trainer.global_step
        decay = min(self.decay, (1 + steps) / (10 + steps))
        for name, value in self._trained(pl_module).items():
            self.average[name].lerp_(value.detach(), 1 - decay)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average in the place of the weights."""
        trained = self._trained(pl_module)
        self._last = {name: value.detach().clone() for name, value in trained.items()}
        self._set(pl_module, self.average)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights back."""
        self._set(pl_module, self._last)

    @staticmethod
    def _trained(module: LightningModule) -> dict[str, Tensor]:
        return {name: value for name, value in module.named_parameters() if value.requires_grad}

    def _set(self, module: LightningModule, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, value in self._trained(module).items():
                value.copy_(values[name])


class CellCheckpoint(Callback):
    """Save the training of a cell at the end of an epoch, at most once a minute.

    On a CPU a training that is continued gives the same bytes as one that was not interrupted.

    Args:
        folder: folder of the cell.
        batches: training batches. The object that orders them has its random state in an attribute `random`.
    """

    def __init__(self, folder: Path, batches: Any) -> None:
        self.path = folder / CHECKPOINT
        sampler = getattr(batches, "batch_sampler", batches)
        self._random = getattr(sampler, "random", None)
        self._loaded: dict[str, Any] = {}
        self._pause, self._saved = EVERY, time.monotonic()

    @property
    def state_key(self) -> str:
        """Return the key of this callback in a checkpoint; it survives a rename of the class."""
        return "Unfinished"

    def start(self) -> Path | None:
        """Restore the order of batches; return the checkpoint that training continues from, if any."""
        if not self.path.is_file():
            return None
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            self._loaded = content["callbacks"][self.state_key]
            _set_state(self._random, self._loaded["batches"])
        except _DAMAGED as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            _log.warning("%s cannot be read (%s); the cell starts from its beginning", self.path, reason)
            self.remove()
            return None
        return self.path

    def remove(self) -> None:
        """Remove the checkpoint: the cell is finished, or cannot be trained."""
        self.remove_from(self.path.parent)

    @staticmethod
    def remove_from(folder: Path) -> None:
        """Remove the checkpoint of the cell in `folder`, if any."""
        (folder / CHECKPOINT).unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """Return all random states; Lightning saves everything else."""
        return {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "batches": _state_of(self._random),
        }

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the random state, which building the module has changed."""
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        if self._loaded:
            torch.set_rng_state(self._loaded["torch"])
            if len(self._loaded["cuda"]) == torch.cuda.device_count() > 0:
                torch.cuda.set_rng_state_all(self._loaded["cuda"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save when it is time; not after the last epoch, which the files of the cell follow."""
        started = time.monotonic()
        if trainer.should_stop or started - self._saved < self._pause:
            return
        trainer.save_checkpoint(self.path)
        self._saved = time.monotonic()
        self._pause = max(EVERY, SHARE * (self._saved - started))


def _state_of(random: Any) -> Any:
    if isinstance(random, np.random.Generator):
        return json.dumps(random.bit_generator.state)
    return None if random is None else random.get_state()


def _set_state(random: Any, state: Any) -> None:
    if isinstance(random, np.random.Generator):
        random.bit_generator.state = json.loads(state)
    elif random is not None:
        random.set_state(state)


class EpochProgress(Callback):
    """Show how many epochs of a cell are done, with the newest validation metrics.

    Early stopping may end a cell earlier, so the remaining time is an upper bound.

    Args:
        label: label of the cell.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self._progress: ProgressReport | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        epochs = trainer.max_epochs or 0
        self._progress = ProgressReport(epochs, f"{self.label}, epochs at most", unit="epoch", whole=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance by a part of an epoch."""
        self._reach(trainer, batch_idx + 1)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Advance by a part of an epoch; validation of whole scans may take longer than training."""
        self._reach(trainer, int(trainer.num_training_batches) + batch_idx + 1)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the newest validation metrics."""
        if self._progress is None:
            return
        metrics = [name for name in trainer.callback_metrics if name.startswith("val/")]
        shown = [f"{name} {float(trainer.callback_metrics[name]):.3f}" for name in metrics[:SHOWN]]
        self._progress.note(", ".join(shown))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Close the bar."""
        self._close()

    def _reach(self, trainer: Trainer, batches: int) -> None:
        """Advance to a number of batches of the epoch, training first, then validation."""
        if self._progress is not None:
            whole = int(trainer.num_training_batches) + sum(map(int, trainer.num_val_batches))
            self._progress.reach(trainer.current_epoch + batches / whole)

    def _close(self) -> None:
        if self._progress is not None:
            self._progress.close()
            self._progress = None
