"""The verb `probe`: the study of a head on a frozen encoder, configured by YAML."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from braindino.cli.config.arguments import SHORTHANDS
from braindino.cli.config.probe_settings import MACHINE, decided_by_protocol
from braindino.datasets import DATASETS, dataset_class
from braindino.datasets.datamodule import ScanDataModule
from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import encoder_label, load_encoder
from braindino.errors import BraindinoError
from braindino.files import digest_of_json
from braindino.probing import Augmentation, FrozenProbeModule, Protocol, results_table
from braindino.probing.data.factory import check_options
from braindino.probing.decoders.base import INITIALISATION
from braindino.probing.decoders.registry import DEFAULT
from braindino.probing.protocol import MAX_EPOCHS, PATIENCE
from braindino.scans.store.store import Store
from braindino.training.callbacks import wandb_logger
from braindino.training.run_folder import ProbeOptions
from braindino.training.slurm import check_tasks
from braindino.verbs.probe import probe

# Keys that change the speed or the amount of results, but not what a cell of the study is.
_NOT_IDENTITY = ("run", "config", "trainer", "seed_everything")
# Options of `data` that permit something; the command of a store is part of its keys.
_CONSENT = ("strip_cmd", "prepare")
# Options of `data` of later versions: without a value they are ignored, so that earlier runs are continued.
_LATER = ("ignore_labels", "sex_codes", "sheet")


def identity_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a resolved config that identifies a study.

    The values of the default recipe are filled in: the same study has the same id whether an option is
    given, omitted, or unknown to the version that began it.

    Args:
        config: the resolved config.
    """
    identity = {key: value for key, value in config.items() if key not in _NOT_IDENTITY}
    data = identity["data"]
    given = {
        key: value
        for key, value in data["init_args"].items()
        if key not in _CONSENT and not (key in _LATER and value is None)
    }
    identity["data"] = {**data, "init_args": given}
    if "head" in (model := identity["model"]):
        head = _head_identity(model["head"], identity["probe"]["recipe"])
        identity["model"] = {**model, "head": head}
    identity["model"] = _without_later(identity["model"])
    protocol = {key: value for key, value in identity["probe"].items() if key not in ("seeds", "fractions")}
    # Neither the folder nor the size of the cache changes the features.
    protocol.pop("cache_gb", None)
    if protocol.pop("cache") is False:
        protocol["cache"] = False
    # Names add baselines to the results; they change no cell of the study.
    if isinstance(protocol.get("baselines"), str | list):
        protocol["baselines"] = True
    if protocol["recipe"] == "default":
        del protocol["recipe"]
        for key, value in (("max_epochs", MAX_EPOCHS), ("patience", PATIENCE)):
            protocol[key] = value if protocol[key] is None else protocol[key]
        model = identity["model"]
        identity["model"] = {**model, "standardise": model["standardise"] is not False}
    return {**identity, "probe": protocol}


class ProbeCLI(LightningCLI):
    """Parse the config of a probe, and make its module, data module and trainers.

    Args:
        args: arguments of the command line.

    Raises:
        BraindinoError: a setting that the study decides, or that a probe does not use.
    """

    def __init__(self, args: Sequence[str]) -> None:
        # jsonargparse finds `--data Cohort` by its short name only after the class was imported.
        for name in DATASETS:
            dataset_class(name)
        super().__init__(
            FrozenProbeModule,
            ScanDataModule,
            subclass_mode_data=True,
            # The config is saved once per study, not once per cell.
            save_config_callback=None,
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={
                "exit_on_error": False,
                "allow_abbrev": False,
                "prog": "braindino probe",
                "epilog": "; ".join(f"{short} stands for {key}" for short, key in SHORTHANDS.items()),
            },
            args=list(args),
            run=False,
        )
        self._check_trainer()
        self._check_loaders()

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the groups `run` (where to write) and `probe` (the protocol)."""
        parser.add_class_arguments(ProbeOptions, "run")
        parser.set_defaults({"run.name": "probe"})
        parser.add_class_arguments(Protocol, "probe")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Return a trainer with the options of the config, and those that a cell of the study sets."""
        try:
            trainer = super().instantiate_trainer(**{"logger": False, **kwargs})
        except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
            raise BraindinoError(f"trainer: {' '.join(str(error).split())[:300]}") from error
        check_tasks(trainer.world_size)
        return trainer

    def _check_trainer(self) -> None:
        """Raise BraindinoError for a trainer setting that the protocol of a probe decides."""
        trainer = self.config["trainer"].as_dict()
        for key, default in self.parser.get_defaults()["trainer"].as_dict().items():
            if key not in MACHINE and trainer[key] != default:
                raise BraindinoError(decided_by_protocol(key))

    def _check_loaders(self) -> None:
        """Raise BraindinoError for a setting of loaders that the probe does not use."""
        given, defaults = self.config["data"]["init_args"].as_dict(), {"batch_size": 4, "num_workers": 0}
        in_loop = self.model.head.dense or self.config_init["probe"].cache is False
        for key in ("batch_size", *(() if in_loop else ("num_workers",))):
            if given[key] != defaults[key]:
                instead = "model.batch_size" if key == "batch_size" else "probe.extraction_batch"
                raise BraindinoError(
                    f"data.{key}: a probe does not use it, so it cannot be set.\nYou may want {instead}."
                )

    @cached_property
    def encoder(self) -> Encoder:
        """Return the encoder; weights without a contract take that of the store, if there is one."""
        return load_encoder(self.model.encoder, Store.contract_at(self.datamodule.store_path))

    def check(self) -> None:
        """Raise BraindinoError for options that the study refuses before it reads data."""
        check_options(self.model, self.config_init["probe"])
        self.datamodule.check_store()

    def folder(self) -> Path:
        """Return `runs/<task>/<encoder>/<id>`; the same config gives the same id."""
        options: ProbeOptions = self.config_init["run"]
        whole = {**_plain(identity_of(self.config.as_dict())), "encoder": self.encoder.digest}
        if self.model.head.dense:
            whole["initialisation"] = INITIALISATION
        digest = digest_of_json(whole)[:8]
        encoder = options.encoder or encoder_label(self.model.encoder)
        return options.root / options.name / encoder / (options.id or digest)


def run_probe(arguments: Sequence[str]) -> int:
    """Run the study of a config, and print its table and its run folder.

    Args:
        arguments: arguments of the command line.

    Returns:
        0.
    """
    cli = ProbeCLI(arguments)
    cli.check()
    folder = cli.folder()
    run = probe(
        cli.datamodule,
        cli.encoder,
        module=cli.model,
        protocol=cli.config_init["probe"],
        run_dir=folder,
        make_trainer=cli.instantiate_trainer,
        config=cli.parser.dump(cli.config, skip_none=False),
    )
    results = run.results
    options: ProbeOptions = cli.config_init["run"]
    if options.wandb != "disabled":
        logger = wandb_logger(options.wandb, folder)
        for summary in results["summary"]:
            named = {f"test/{name}": value["value"] for name, value in summary["test"]["metrics"].items()}
            logger.log_metrics({"fraction": summary["fraction"], **named})
        logger.finalize("success")
    print(results_table(results))
    print(f"run folder: {folder}")
    return 0


def _head_identity(head: Mapping[str, Any], recipe: str) -> dict[str, Any]:
    """Return the config of a head without the options that heads of earlier versions did not have.

    Args:
        head: `class_path` and `init_args`.
        recipe: recipe of the probe, by which an omitted decoder is chosen.
    """
    arguments = dict(head.get("init_args") or {})
    if arguments.get("decoder", "") is None:
        arguments["decoder"] = "paper" if recipe == "paper" else DEFAULT
    module, _, name = head["class_path"].rpartition(".")
    cls = getattr(import_module(module), name)
    arguments = {key: value for key, value in arguments.items() if not _is_stored(cls, key, value)}
    return {**head, "init_args": arguments} if "init_args" in head else dict(head)


def _without_later(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a probe without options that earlier versions did not have, at their defaults."""
    left = {key: value for key, value in model.items() if not _is_stored(FrozenProbeModule, key, value)}
    if isinstance(amounts := left.get("augment"), Mapping):
        left["augment"] = {
            key: value for key, value in amounts.items() if not _is_stored(Augmentation, key, value)
        }
    return left


def _is_stored(cls: type, key: str, value: Any) -> bool:
    """Return whether an argument has the value that stands for the behaviour of earlier versions."""
    stored: Mapping[str, Any] = getattr(cls, "stored_defaults", {})
    return key in stored and bool(stored[key] == value)


def _plain(value: Any) -> Any:
    """Return a value with paths as text, as JSON needs."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
