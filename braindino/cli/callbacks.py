"""What every training run writes into its folder: config, environment, metrics, checkpoints, who was seen."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from braindino.cli.ending import Ended, Ending
from braindino.cli.metrics_csv import MetricsCSV
from braindino.cli.run_folder import FitOptions, write_environment
from braindino.network import check_network


class SaveConfig(SaveConfigCallback):
    """The resolved config, saved when training starts: a run refused before that keeps what it had."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Not yet."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `config.yaml` into the run folder."""
        super().setup(trainer, pl_module, "fit")


class Environment(Callback):
    """Writes `environment.json` when training starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record versions, machine and command."""
        write_environment(self.folder)


class RecordPeople(Callback):
    """Puts the people seen in pretraining into every checkpoint, for the leakage audit of the probes."""

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add `pretraining_people`, if the data module knows them."""
        people = getattr(getattr(trainer, "datamodule", None), "people", None)
        if people is not None:
            checkpoint["pretraining_people"] = sorted(set(people()["group"]))


class Checkpoints(ModelCheckpoint):
    """The last two checkpoints, every `checkpoint_every` optimiser steps, and one when the run ends.

    Also when Ctrl-C, SIGTERM or a job's time limit ends it, whichever process was told: all of them end after
    the same optimiser step, as a state in the middle of one could not be continued. A second Ctrl-C ends at
    once.
    """

    def __init__(self, options: FitOptions) -> None:
        super().__init__(
            dirpath=options.checkpoints,
            filename="step{step:07d}",
            auto_insert_metric_name=False,
            monitor="step",
            mode="max",
            save_top_k=2,
            every_n_train_steps=options.checkpoint_every,
            save_on_train_epoch_end=False,
        )
        self._ending = Ending()
        self._sent: signal.Signals | None = None
        self._step = 0

    @property
    def state_key(self) -> str:
        """One name whatever the interval, which a continued run may change."""
        return type(self).__name__

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note signals from now on."""
        self._ending.listen(trainer.world_size)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note signals from now on."""
        super().on_train_start(trainer, pl_module)
        self._step = trainer.global_step
        self._ending.listen(trainer.world_size)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Save if the end was asked for since the last optimiser step."""
        super().on_train_batch_end(trainer, *args, **kwargs)
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self._sent = self._ending.asked()
        if self._sent is not None:
            self._save_now(trainer)

    def on_train_batch_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """End between two steps: only now is the last one logged."""
        super().on_train_batch_start(trainer, *args, **kwargs)
        if self._sent == signal.SIGINT:
            raise KeyboardInterrupt
        if self._sent is not None:
            raise Ended(self._sent, trainer.is_global_zero)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        super().on_exception(trainer, pl_module, exception)
        if isinstance(exception, Ended):
            self._ending.be_deaf()
        else:
            self._ending.listen_no_more()

    def _save_now(self, trainer: Trainer) -> None:
        path = Path(str(self.dirpath)) / f"step{trainer.global_step:07d}.ckpt"
        if not trainer.strategy.broadcast(path.exists()):  # one answer for all, who save together
            trainer.save_checkpoint(path)
        if trainer.is_global_zero:  # Lightning forgets these, so that every requeueing would leave one behind
            # never this one, whatever the clocks of two machines say
            others = [file for file in path.parent.glob("step*.ckpt") if file != path]
            for old in sorted(others, key=lambda file: file.stat().st_mtime)[:-1]:
                trainer.strategy.remove_checkpoint(old)  # which is a folder for some strategies

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run whose length is no multiple of the interval keeps its last steps too."""
        super().on_train_end(trainer, pl_module)
        self._ending.be_deaf()  # Lightning's handler would speak to the others in the middle of the writing
        self._save_now(trainer)
        self._ending.listen_no_more()


def loggers_of(options: FitOptions) -> list[Logger]:
    """CSV always, TensorBoard when it is installed, Weights & Biases on request."""
    loggers: list[Logger] = [MetricsCSV(options.folder)]
    try:
        from lightning.pytorch.loggers import TensorBoardLogger

        loggers.append(TensorBoardLogger(options.folder, name="", version="tensorboard"))
    except ModuleNotFoundError:
        pass  # an optional dependency: the extra `tensorboard` brings it
    if options.wandb != "disabled":
        loggers.append(wandb_logger(options.wandb, options.folder))
    return loggers


def wandb_logger(mode: str, folder: Path) -> Logger:
    """Weights & Biases, `online` or `offline`; its files lie in the run folder."""
    from lightning.pytorch.loggers import WandbLogger

    if mode == "online":
        check_network("--run.wandb online")
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_MODE"] = mode
    return WandbLogger(name=folder.name, project="braindino", save_dir=folder, id=folder.name)


def finish_wandb() -> None:
    """Close the Weights & Biases run, if there is one, so that all of it is written."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()
