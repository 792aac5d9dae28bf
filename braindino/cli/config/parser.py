"""Parse and run the Lightning verbs `fit`, `validate`, `test` and `probe`."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import ArgumentError
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import SIGTERMException

from braindino.cli.config.arguments import check_arguments, expand_shorthands
from braindino.cli.config.files import resolve_configs, source_of
from braindino.cli.config.messages import readable
from braindino.datasets.loading import worker_error
from braindino.encoders.weight_files import last_checkpoint, newest_state, read_file
from braindino.errors import BraindinoError
from braindino.training.callbacks import (
    Checkpoints,
    DropStaleMetrics,
    RecordEnvironment,
    RecordPeople,
    SaveConfig,
    create_loggers,
    finish_wandb,
)
from braindino.training.checkpoint_names import FOLDER as CHECKPOINTS
from braindino.training.checkpoint_names import METADATA, is_sharded_checkpoint, run_checkpoints
from braindino.training.csv_logger import MetricsCSV
from braindino.training.progress import progress_callback
from braindino.training.run_folder import (
    ID_VARIABLE,
    FitOptions,
    default_id,
    is_automatic,
    locked_run_folder,
    temporary_id,
)
from braindino.training.run_identity import (
    check_finished,
    differences,
    free_id,
    listed,
    settings_of,
    unused_id,
)
from braindino.training.signals import GracefulExit, exit_on_sigterm, restore_default_sigterm
from braindino.training.slurm import check_tasks, in_interactive_step, in_slurm_job, requeue

if TYPE_CHECKING:
    from braindino.cli.probe import ProbeCLI

BEST = "best.ckpt"  # in the run folder of a module that chooses weights on validation
_log = logging.getLogger(__name__)
_PARSER = {"exit_on_error": False, "allow_abbrev": False}


def run(verb: str, arguments: Sequence[str]) -> int:
    """Run a Lightning verb and return the exit code.

    Args:
        verb: fit, validate, test or probe.
        arguments: words after the verb.

    Raises:
        BraindinoError: the configuration is wrong.
    """
    _quieten()
    # environment.json records this command, and Lightning starts it again for every further GPU.
    given, sys.argv = sys.argv, [sys.argv[0], verb, *arguments]
    try:
        with temporary_id(), exit_on_sigterm():
            return _run(verb, resolve_configs(expand_shorthands(verb, arguments)))
    finally:
        sys.argv = given
        finish_wandb()


def parse_probe(arguments: Sequence[str]) -> "ProbeCLI":
    """Return the configured parts of `braindino probe` without running it or reading data."""
    from braindino.cli.probe import ProbeCLI

    _quieten()
    resolved = resolve_configs(expand_shorthands("probe", arguments))
    check_arguments("probe", resolved)
    with _readable("probe", resolved):
        return ProbeCLI(resolved)


def _run(verb: str, arguments: Sequence[str]) -> int:
    if not {"-h", "--help"} & set(arguments) and not any(a.startswith("--model.help") for a in arguments):
        check_arguments(verb, arguments)
    try:
        with _readable(verb, arguments):
            if verb == "probe":
                from braindino.cli.probe import run_probe

                return run_probe(arguments)
            FitCLI(args=[verb, *arguments])
    except SIGTERMException as end:  # usually the time limit of a job
        if isinstance(end, GracefulExit):
            if not end.first:  # else srun (KillOnBadExit), torchrun or Lightning would kill the first
                return 0
            try:
                finish_wandb()
            finally:
                restore_default_sigterm()  # SLURM ends the processes of a job that it requeues
                requeue(end.sent)
        return 143
    except SystemExit as stop:  # raised by --help, --print_config, and Lightning's trainer on Ctrl-C
        if isinstance(stop.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        return int(stop.code or 0)
    return 0


@contextmanager
def _readable(verb: str, arguments: Sequence[str]) -> Iterator[None]:
    """Convert errors of jsonargparse and of workers into BraindinoError."""
    try:
        yield
    except ArgumentError as error:
        problem = readable(str(error))
        if (source := source_of(problem.partition(":")[0], arguments)) is not None:
            problem = f"{source}: {problem}"
        if "required" in problem:
            problem += f"\n`braindino {verb} --config NAME` starts from a shipped config."
        raise BraindinoError(f"{verb}: {problem}") from None
    except RuntimeError as error:  # a worker that died may surface in any call
        if (explained := worker_error(error)) is None:
            raise
        raise explained from error
    except ValueError as error:  # jsonargparse wraps errors of constructors
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, BraindinoError):
            cause = cause.__cause__
        # jsonargparse rejects a value of a union in this way.
        if cause is None and str(error).startswith("Does not validate against"):
            raise BraindinoError(f"{verb}: {readable(str(error))}") from None
        if cause is None:
            raise
        raise cause from None


class FitCLI(LightningCLI):
    """Run `braindino fit | validate | test` of any LightningModule and LightningDataModule.

    Args:
        args: words after `braindino`.
    """

    def __init__(self, args: Sequence[str]) -> None:
        verbs = self.subcommands()
        # Steps of the checkpoint that training continues from, and why nothing is left to train.
        self._done = 0
        self._finished: str | None = None
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True},
            trainer_defaults={"max_epochs": -1},  # lengths are given in optimiser steps
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={**_PARSER, **{verb: dict(_PARSER) for verb in verbs}},
            args=list(args),
        )

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return the verbs, and parameters of the trainer's methods that are not arguments."""
        given = {"model", "datamodule", "weights_only"}
        return {
            "fit": given | {"train_dataloaders", "val_dataloaders"},
            "validate": given | {"dataloaders"},
            "test": given | {"dataloaders"},
        }

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the group `run` with the options of the run folder."""
        parser.add_class_arguments(FitOptions, "run")

    def _parse_ckpt_path(self) -> None:
        """Do nothing, because Lightning would merge content of a checkpoint into the config."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse, and record whether the seed is drawn at every start."""
        super().parse_arguments(parser, args)
        self._draws_seed = self.config[self.config["subcommand"]].get("seed_everything") is True

    @property
    def _options(self) -> FitOptions:
        options: FitOptions = self._get(self.config_init, "run")
        return options

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """Return the settings that identify the run; see `settings_of`."""
        assert self.subcommand is not None
        config = self._parser(self.subcommand).dump(self._get_config(), skip_none=False)
        settings = settings_of(yaml.safe_load(config))
        if self._draws_seed:
            del settings["seed_everything"]
        return settings

    def _get_config(self) -> Any:
        assert self.subcommand is not None
        return self.config[self.subcommand]

    def _name_run(self) -> None:
        """Set the id of a run without one: the job's if its run has the same settings."""
        options = self._options
        if options.id is not None:
            return
        automatic, base = is_automatic(options.id), default_id()
        root = options.root / options.name
        if not automatic or self.subcommand != "fit":
            options.id = base
        elif base == os.environ.get(ID_VARIABLE):  # the id is the time
            options.id = os.environ[ID_VARIABLE] = unused_id(root, base)
        else:
            options.id = free_id(root, base, self._settings)
            if options.id != base:
                changed = differences(root / base, self._settings) or []
                _announce(
                    f"{root / base} is another run of this job ({listed(changed)}); this one is {options.id}"
                )

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Return a trainer that writes everything into the run folder."""
        options = self._options
        evaluating = self.subcommand != "fit"
        if evaluating and options.id is None and self._get(self.config, "ckpt_path") is None:
            raise BraindinoError(
                f"{self.subcommand}: no weights given. Name a run in {options.root / options.name} with "
                "--run.id ID, or a checkpoint with --ckpt_path FILE."
            )
        self._name_run()
        config = self._get(self.config_init, "trainer")
        if config["logger"] in (None, True):
            kwargs["logger"] = create_loggers(options)
        kwargs.setdefault("default_root_dir", options.folder)
        callbacks = list(config["callbacks"] or [])
        if config["enable_progress_bar"] is not False:
            callbacks.append(progress_callback())
            # Lightning draws one bar per epoch, and an epoch may have only a few steps.
            kwargs["enable_progress_bar"] = evaluating and sys.stderr.isatty()
        kwargs.setdefault("enable_model_summary", bool(config["enable_model_summary"]))
        if config["enable_checkpointing"] is not False:
            callbacks.append(Checkpoints(options))
        if not evaluating:
            callbacks += [DropStaleMetrics(), RecordPeople(), RecordEnvironment(options.folder)]
        kwargs["callbacks"] = callbacks
        try:
            if in_interactive_step() and not config["plugins"]:
                kwargs["plugins"] = SLURMEnvironment(auto_requeue=False)
            trainer = super().instantiate_trainer(**kwargs)
        except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
            raise BraindinoError(f"trainer: {error}") from error
        check_tasks(trainer.world_size)
        return trainer

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        """Return the arguments of a verb with a checkpoint: the newest, or for evaluation the best."""
        kwargs = super()._prepare_subcommand_kwargs(subcommand)
        if kwargs.get("ckpt_path") is not None:
            path = Path(kwargs["ckpt_path"])
            if not path.is_file() and not is_sharded_checkpoint(path):
                raise BraindinoError(f"--ckpt_path {path}: no such file.")
            # Reading it raises BraindinoError if it is damaged or needs unpickling.
            file = path / METADATA if is_sharded_checkpoint(path) else path
            step = int(read_file(file).get("global_step", 0))
        elif subcommand == "fit":
            step = self._continue(kwargs)
        else:
            best = self._options.folder / BEST
            kwargs["ckpt_path"] = str(best if best.is_file() else last_checkpoint(self._options.folder))
            _announce(f"weights of {kwargs['ckpt_path']}")
        if subcommand == "fit":
            self._done = step
            if self._finished is None:
                self._rewind(step)
        # Checkpoints of this package contain only tensors and plain values; others must not run code.
        kwargs["weights_only"] = True
        return kwargs

    def _continue(self, kwargs: dict[str, Any]) -> int:
        """Put the newest checkpoint of the run, if any, into `kwargs` and return its steps."""
        folder = self._options.folder
        named, unnamed = run_checkpoints(folder)
        if not named:
            if unnamed:
                names = ", ".join(path.name for path in unnamed)
                _log.warning("%s: passed over %s: not named step<number>.ckpt", folder / CHECKPOINTS, names)
            return 0
        path, step = newest_state(folder)
        kwargs["ckpt_path"] = str(path)
        requested = self.trainer.max_steps
        self._finished = check_finished(folder, self._settings, step, requested)
        if self._finished is None:
            target = f", {requested} requested" if requested > 0 else ""
            _announce(f"continuing from {path} ({step} steps done{target})")
            changed = differences(folder, self._settings)
            if changed:
                _announce(f"settings that differ from this run's before: {listed(changed)}")
        return step

    def _run_subcommand(self, subcommand: str) -> None:
        """Run with the run folder locked; explain a checkpoint of another model."""
        options = self._options
        alone = subcommand == "fit" and self.trainer.is_global_zero
        try:
            with locked_run_folder(options.folder) if alone else nullcontext():
                super()._run_subcommand(subcommand)
        except RuntimeError as error:
            if "Error(s) in loading state_dict" not in str(error):
                raise
            first = str(error).splitlines()[1].strip()
            raise BraindinoError(
                f"{options.folder}: its checkpoint is of another model than the config describes "
                f"({first[:160]}).\n"
                "Continue with the config.yaml of the run, or name another run with --run.id."
            ) from error
        except SystemExit as stop:
            if isinstance(stop.__context__, KeyboardInterrupt):
                again = f"the same command with --run.id {options.folder.name} continues"
                raise KeyboardInterrupt(again) from None
            raise

    def _rewind(self, step: int) -> None:
        for logger in self.trainer.loggers:
            if isinstance(logger, MetricsCSV):
                logger.rewind(step)

    def fit(self, **kwargs: Any) -> None:
        """Train, or print that all requested steps are done."""
        if self._finished is None:
            self.trainer.fit(**kwargs)
            if kwargs.get("ckpt_path") is None or self.trainer.global_step > self._done:
                return
            self._finished = f"nothing to train: the run has {self._done} steps, all that were requested."
        _announce(self._finished)

    def after_fit(self) -> None:
        """Print the run folder and the next command, which the module may define."""
        options = self._options
        _announce(f"run folder: {options.folder}")
        command = getattr(self.model, "next_command", "braindino export {run} --out encoder")
        _announce(f"next: {command.format(run=options.folder, id=options.folder.name)}")


@rank_zero_only
def _announce(text: str) -> None:
    print(text, flush=True)


def _quieten() -> None:
    """Hide messages that no user can act on; errors and real warnings stay."""
    # LightningCLI calls deprecated parts of jsonargparse.
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Lightning's hint to use srun is useful only inside a job.
    outside = [] if in_slurm_job() else ["The `srun` command is available.*"]
    for pattern in (
        *outside,
        ".*does not have many workers.*",
        ".*LeafSpec.*",
        ".*Checkpoint directory .* exists and is not empty.*",
        ".*`isinstance.*",
        ".*smaller than the logging interval.*",
        "Total length of .* across ranks is zero.*",  # no validation part was requested
        "LightningCLI's args parameter.*",  # they are the command line
    ):
        warnings.filterwarnings("ignore", message=pattern)
