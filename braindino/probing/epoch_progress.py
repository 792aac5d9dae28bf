"""Progress bar of the epochs of a cell."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from braindino.probing.cell import MakeTrainer
from braindino.progress import ProgressReport

SHOWN = 2  # validation metrics beside the bar


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


def show_epochs(make_trainer: MakeTrainer, label: str, show: bool) -> MakeTrainer:
    """Return a function that makes trainers with an `EpochProgress`.

    Args:
        make_trainer: see `run_study`.
        label: label of the cell.
        show: False returns `make_trainer` itself.
    """
    if not show:
        return make_trainer

    def make(**options: Any) -> Trainer:
        callbacks = [*(options.pop("callbacks", None) or []), EpochProgress(label)]
        return make_trainer(callbacks=callbacks, **options)

    return make
