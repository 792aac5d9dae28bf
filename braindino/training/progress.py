"""Progress of `fit`: a bar over all steps on a terminal, a line every few steps elsewhere."""

import math
import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from tqdm import tqdm

from braindino.progress import width_of


def progress_callback() -> Callback:
    """Return a callback that draws a bar on a terminal, and prints lines anywhere else."""
    return BarProgress() if sys.stderr.isatty() else LineProgress()


class _Steps(Callback):
    """Count of optimiser steps on the first process; a subclass shows it.

    Attributes:
        first: step that the run starts or continues from.
        step: the last one done.
        total: steps of the run; None without a limit.
    """

    first = 0
    step = 0
    total: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock at the step that the run starts or continues from."""
        self.first = self.step = trainer.global_step
        total = trainer.estimated_stepping_batches
        self.total = None if math.isinf(total) or total < 0 else int(total)
        if trainer.is_global_zero:
            self.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show a new step; with accumulated gradients it has several batches."""
        if not trainer.is_global_zero or trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        loss = trainer.callback_metrics.get("train/loss")
        self.show(trainer, None if loss is None else float(loss))

    def start(self) -> None:
        """Show that training starts."""

    def show(self, trainer: Trainer, loss: float | None) -> None:
        """Show that `step` is done."""


class BarProgress(_Steps):
    """Bar over all optimiser steps, with the loss and the time left."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def start(self) -> None:
        """Draw the bar."""
        self._bar = tqdm(
            total=self.total,
            initial=self.first,
            desc="fit",
            unit="step",
            file=sys.stderr,
            **width_of(sys.stderr),
            smoothing=0.1,
        )

    def show(self, trainer: Trainer, loss: float | None) -> None:
        """Move the bar."""
        assert self._bar is not None
        if loss is not None:
            self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        self._bar.update(self.step - self._bar.n)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the bar as it is, also after an error."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class LineProgress(_Steps):
    """Print a line every `trainer.log_every_n_steps` steps.

    For example `step 120/600  loss 7.10  0.21 s/step  1:41 left`.
    """

    def __init__(self) -> None:
        self._started = 0.0

    def start(self) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def show(self, trainer: Trainer, loss: float | None) -> None:
        """Print a line when one is due."""
        # Lightning sets the attribute late.
        every = max(trainer.log_every_n_steps, 1)  # type: ignore[attr-defined]
        if self.step % every and self.step != self.total:
            return
        pace = (time.monotonic() - self._started) / (self.step - self.first)
        words = [f"step {self.step}" + ("" if self.total is None else f"/{self.total}")]
        if loss is not None:
            words.append(f"loss {loss:.3f}")
        words.append(f"{pace:.2f} s/step")
        if self.total is not None:
            minutes, seconds = divmod(round(pace * (self.total - self.step)), 60)
            words.append(f"{minutes}:{seconds:02d} left")
        print("  ".join(words), flush=True)
