"""Callbacks and loggers of every training run: config, environment, metrics, checkpoints."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from braindino.errors import BraindinoError
from braindino.files import atomic_write
from braindino.network import allow_wandb, check_network
from braindino.scans.seen import Seen
from braindino.training.checkpoint_files import partial_of, publish, remove
from braindino.training.checkpoint_io import AtomicCheckpointIO, explained
from braindino.training.checkpoint_names import checkpoint_name
from braindino.training.csv_logger import MetricsCSV
from braindino.training.people import record_seen
from braindino.training.run_folder import FitOptions, write_environment
from braindino.training.signals import GracefulExit, SignalListener


class SaveConfig(SaveConfigCallback):
    """Save the resolved config when training starts.

    A run that is refused before that leaves the config of an earlier start unchanged.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Do nothing: the config is written when training starts."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `config.yaml` into the run folder."""
        # All processes must read `log_dir`.
        folder = trainer.log_dir
        if folder is not None and trainer.is_global_zero:
            with atomic_write(Path(folder) / self.config_filename) as file:
                file.write(self.parser.dump(self.config, skip_none=False))


class RecordEnvironment(Callback):
    """Write `environment.json` when training starts.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @rank_zero_only
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record versions, machine and command."""
        write_environment(self.folder)


class RecordPeople(Callback):
    """Record the people and scans trained on, for modules that do not record them themselves.

    The modules of this package record them, also without the command. This callback does it for a user's
    module that `fit` trains on a data module of this package, so that its checkpoints can be audited for
    leakage.
    """

    def __init__(self) -> None:
        # By this run before it was continued.
        self._seen_before: Seen | None = None

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Read which people and scans the run had seen when it was interrupted."""
        self._seen_before = Seen.of_checkpoint(checkpoint)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the people and scans that the data module lists, if it lists any."""
        data = getattr(trainer, "datamodule", None)
        if self._seen_before is not None or hasattr(data, "trained_on") or hasattr(data, "people"):
            record_seen(checkpoint, trainer, self._seen_before)


class DropStaleMetrics(Callback):
    """Delete the metrics of one step before the next one.

    Lightning repeats the last value of a metric that is not measured in every step until the epoch ends, so
    that a row of `metrics.csv` would contain values of earlier steps, and differ after an interruption.
    """

    def on_train_batch_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Delete values of single steps; those that are averaged over the epoch stay."""
        if self._accumulates(trainer):
            return
        results = trainer._results
        if results is not None:
            for key in [key for key, value in results.items() if not value.meta.on_epoch]:
                del results[key]

    @staticmethod
    def _accumulates(trainer: Trainer) -> bool:
        """Return whether the batch belongs to the same optimiser step as the one before it."""
        return trainer.fit_loop.epoch_loop._should_accumulate()


class Checkpoints(ModelCheckpoint):
    """Save a checkpoint every `checkpoint_every` optimiser steps and at the end of the run.

    The last two stay. One is also saved when Ctrl-C, SIGTERM or a job's time limit ends the run, whichever
    process received the signal: all processes end after the same optimiser step, as a state in the middle
    of one could not be continued. A second Ctrl-C ends the run at once, as does a second SIGTERM while no
    checkpoint is written.

    A checkpoint takes its name when the rows of `metrics.csv` up to its step, and of a validation after it,
    are on disk: Lightning logs a step after the callbacks, and does not repeat a validation when it
    continues, so that a run killed in between would lose a row.

    Args:
        options: options of the run.
    """

    def __init__(self, options: FitOptions) -> None:
        super().__init__(
            dirpath=options.checkpoints,
            filename="step{step:07d}",
            auto_insert_metric_name=False,
            # `publish` removes old ones: Lightning forgets those of earlier starts.
            save_top_k=-1,
            every_n_train_steps=options.checkpoint_every,
            save_on_train_epoch_end=False,
            enable_version_counter=False,
        )
        self._signals = SignalListener()
        self._sent: signal.Signals | None = None
        self._step = 0
        self._saved_step: int | None = None
        self._unpublished: Path | None = None

    @property
    def state_key(self) -> str:
        """Return one name for all intervals, which a continued run may change."""
        return "Checkpoints"

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the checkpoints are on disk, and paths of this machine stay here."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Ignore the state that earlier versions saved."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write checkpoints in place, and refuse processes that disagree about the run folder.

        Args:
            trainer: trainer of the run.
            pl_module: its module.
            stage: stage that Lightning runs.

        Raises:
            BraindinoError: the processes have different run folders.
        """
        super().setup(trainer, pl_module, stage)
        if type(getattr(trainer.strategy, "_checkpoint_io", None)) in (type(None), TorchCheckpointIO):
            # FSDP writes its files itself.
            with suppress(NotImplementedError):
                trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        folder = str(trainer.default_root_dir)
        first = trainer.strategy.broadcast(folder)
        if first != folder:
            raise BraindinoError(
                f"the processes of this run do not agree on its folder: {first} and {folder}.\n"
                "Name it with --run.id."
            )

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle signals from now on."""
        self._signals.start(trainer.world_size)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Handle signals from now on."""
        super().on_train_start(trainer, pl_module)
        self._step = trainer.global_step
        self._signals.start(trainer.world_size)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Save if a signal was received since the last optimiser step."""
        super().on_train_batch_end(trainer, *args, **kwargs)
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self._sent = self._signals.received()
        if self._sent is not None:
            self._save_now(trainer)

    def on_train_batch_start(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """End the run between two steps: by now the last one is logged.

        Raises:
            KeyboardInterrupt: SIGINT was received.
            GracefulExit: SIGTERM or SIGUSR1 was received.
        """
        super().on_train_batch_start(trainer, *args, **kwargs)
        self._publish(trainer)
        if self._sent == signal.SIGINT:
            raise KeyboardInterrupt
        if self._sent is not None:
            raise GracefulExit(self._sent, trainer.is_global_zero)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish the checkpoint of a run that is to end: there may be no time for a validation."""
        super().on_validation_start(trainer, pl_module)
        if self._sent is not None:
            self._publish(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Publish the checkpoint of the last step."""
        super().on_train_epoch_end(trainer, pl_module)
        self._publish(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Restore the signal handlers, and publish a checkpoint that is complete."""
        super().on_exception(trainer, pl_module, exception)
        # A BraindinoError may be that of a full disk, which is reported already.
        if not isinstance(exception, BraindinoError):
            self._publish(trainer)
        if isinstance(exception, GracefulExit):
            self._signals.stop_interrupt()
        else:
            self._signals.stop()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last steps of a run whose length is no multiple of the interval."""
        super().on_train_end(trainer, pl_module)
        # Lightning's handler would communicate with the other processes while they write.
        self._signals.stop_interrupt()
        self._save_now(trainer)
        self._publish(trainer)
        self._signals.stop()

    def _save_now(self, trainer: Trainer) -> None:
        # Equal on all processes, which save together.
        if self._saved_step != trainer.global_step:
            self._save_checkpoint(
                trainer, str(Path(str(self.dirpath)) / checkpoint_name(trainer.global_step))
            )

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        """Write a checkpoint under a hidden name; `_publish` renames it."""
        path = Path(filepath)
        self._publish(trainer)
        partial = partial_of(path)
        with self._signals.writing():
            try:
                with explained(path):
                    trainer.save_checkpoint(partial)
            except BaseException:
                if trainer.is_global_zero:
                    remove(partial)
                raise
        self._last_global_step_saved = self._saved_step = trainer.global_step
        self._last_checkpoint_saved = filepath
        self._unpublished = path

    def _publish(self, trainer: Trainer) -> None:
        path, self._unpublished = self._unpublished, None
        if path is None:
            return
        for logger in trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.save()
        if trainer.is_global_zero:
            publish(path)


def create_loggers(options: FitOptions) -> list[Logger]:
    """Return the loggers of a run: CSV, TensorBoard if installed, Weights & Biases on request."""
    loggers: list[Logger] = [MetricsCSV(options.folder)]
    try:
        from lightning.pytorch.loggers import TensorBoardLogger

        loggers.append(TensorBoardLogger(options.folder, name="", version="tensorboard"))
    except ModuleNotFoundError:
        # An optional dependency: the extra `tensorboard` installs it.
        pass
    if options.wandb != "disabled":
        loggers.append(wandb_logger(options.wandb, options.folder))
    return loggers


def wandb_logger(mode: str, folder: Path) -> Logger:
    """Return a logger to Weights & Biases; its files lie in the run folder.

    Args:
        mode: "online" or "offline".
        folder: the run folder.

    Raises:
        BraindinoError: "online" without a network.
    """
    from lightning.pytorch.loggers import WandbLogger

    if mode == "online":
        check_network("--run.wandb online")
    allow_wandb()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_MODE"] = mode
    return WandbLogger(name=folder.name, project="braindino", save_dir=folder, id=folder.name)


def finish_wandb() -> None:
    """Close the Weights & Biases run, if there is one, so that all of it is written."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()
