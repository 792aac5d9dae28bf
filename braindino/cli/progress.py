"""Progress for output that goes to a file: one line every few steps instead of a bar."""

import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, TQDMProgressBar


def progress_callback() -> Callback:
    """A bar on a terminal, lines elsewhere."""
    return TQDMProgressBar() if sys.stderr.isatty() else LineProgress()


class LineProgress(Callback):
    """Prints `step 120/600  loss 7.10  0.21 s/step  1:41 left` every `trainer.log_every_n_steps` steps."""

    def __init__(self) -> None:
        self._started = 0.0
        self._first = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock at the step that the run starts or continues from."""
        self._started, self._first = time.monotonic(), trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print a line when one is due."""
        step, total = trainer.global_step, int(trainer.estimated_stepping_batches)
        every = max(trainer.log_every_n_steps, 1)  # type: ignore[attr-defined]  # lightning sets it late
        due = step % every == 0 or step == total
        if not trainer.is_global_zero or not due or step == self._first:
            return
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        pace = (time.monotonic() - self._started) / (step - self._first)
        minutes, seconds = divmod(round(pace * (total - step)), 60)
        loss = trainer.callback_metrics.get("train/loss")
        told = "" if loss is None else f"  loss {float(loss):.3f}"
        print(f"step {step}/{total}{told}  {pace:.2f} s/step  {minutes}:{seconds:02d} left", flush=True)
