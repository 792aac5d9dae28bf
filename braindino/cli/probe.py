"""`braindino probe`: a frozen encoder, a head and a dataset from YAML, run through the study."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from braindino.cli.config.probe_settings import MACHINE, decided_by_protocol
from braindino.datasets import DATASETS, dataset_class
from braindino.datasets.datamodule import ScanDataModule
from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import encoder_label, load_encoder
from braindino.errors import BraindinoError
from braindino.files import atomic_write, digest_of_json
from braindino.probing import FrozenProbeModule, Protocol, results_table, run_study
from braindino.probing.decoder import INITIALISATION
from braindino.probing.protocol import MAX_EPOCHS, PATIENCE
from braindino.scans.store.store import Store
from braindino.training.callbacks import wandb_logger
from braindino.training.run_folder import ProbeOptions, write_environment
from braindino.training.slurm import check_tasks
from braindino.training.state import record_state

# They change how fast a result comes or how much of it there is, not what a cell of the study is.
_NOT_IDENTITY = ("run", "config", "trainer", "seed_everything")


_CONSENT = ("strip_cmd", "prepare")  # of `data`: what a command may do; the store's command is in its keys
# Options of `data` that came later: without a value they are left out, so that earlier runs are continued.
_LATER = ("ignore_labels", "sex_codes", "sheet")


def identity_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a resolved config that tells one study from another.

    What the default recipe settles stands in it as if it had been set: the same study has the same id
    whether an option is given, left out, or was unknown to the version that began it.
    """
    identity = {key: value for key, value in config.items() if key not in _NOT_IDENTITY}
    data = identity["data"]
    given = {
        key: value
        for key, value in data["init_args"].items()
        if key not in _CONSENT and not (key in _LATER and value is None)
    }
    identity["data"] = {**data, "init_args": given}
    protocol = {key: value for key, value in identity["probe"].items() if key not in ("seeds", "fractions")}
    if protocol.pop("cache") is False:  # where features are kept tells nothing of what they are
        protocol["cache"] = False
    if protocol["recipe"] == "default":
        del protocol["recipe"]
        for key, value in (("max_epochs", MAX_EPOCHS), ("patience", PATIENCE)):
            protocol[key] = value if protocol[key] is None else protocol[key]
        model = identity["model"]
        identity["model"] = {**model, "standardise": model["standardise"] is not False}
    return {**identity, "probe": protocol}


class ProbeCLI(LightningCLI):
    """Parses a probe's config and makes the module, the data module and the trainers of its cells.

    Raises:
        BraindinoError: a setting that the study decides, or that a probe does not use.
    """

    def __init__(self, args: Sequence[str]) -> None:
        for name in DATASETS:  # jsonargparse finds `--data Cohort` by its short name once it is imported
            dataset_class(name)
        super().__init__(
            FrozenProbeModule,
            ScanDataModule,
            subclass_mode_data=True,
            save_config_callback=None,  # saved once per study, not once per cell
            seed_everything_default=0,
            auto_configure_optimizers=False,
            parser_kwargs={"exit_on_error": False, "allow_abbrev": False, "prog": "braindino probe"},
            args=list(args),
            run=False,
        )
        self._refuse_what_the_study_decides()
        self._refuse_what_has_no_effect()

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The groups `run` (where to write) and `probe` (the protocol)."""
        parser.add_class_arguments(ProbeOptions, "run")
        parser.set_defaults({"run.name": "probe"})
        parser.add_class_arguments(Protocol, "probe")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """A trainer as the config describes it; each cell of the study adds arguments of its own."""
        try:
            trainer = super().instantiate_trainer(**{"logger": False, **kwargs})
        except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
            raise BraindinoError(f"trainer: {' '.join(str(error).split())[:300]}") from error
        check_tasks(trainer.world_size)
        return trainer

    def _refuse_what_the_study_decides(self) -> None:
        """Raise BraindinoError for a trainer setting that would be overridden, or change results unseen."""
        trainer = self.config["trainer"].as_dict()
        for key, default in self.parser.get_defaults()["trainer"].as_dict().items():
            if key not in MACHINE and trainer[key] != default:
                raise BraindinoError(decided_by_protocol(key))

    def _refuse_what_has_no_effect(self) -> None:
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
        """The encoder; weights that carry no contract of their own take the store's, if there is one."""
        store = self.datamodule.store_path
        contract = Store.open(store).contract if (store / "contract.json").exists() else None
        return load_encoder(self.model.encoder, contract)

    def folder(self) -> Path:
        """`runs/<task>/<encoder>/<id>`; the id follows from the config, so that the same probe continues."""
        options: ProbeOptions = self.config_init["run"]
        whole = {**_plain(identity_of(self.config.as_dict())), "encoder": self.encoder.digest}
        if self.model.head.dense:
            whole["initialisation"] = INITIALISATION
        digest = digest_of_json(whole)[:8]
        encoder = options.encoder or encoder_label(self.model.encoder)
        return options.root / options.name / encoder / (options.id or digest)


def run_probe(arguments: Sequence[str]) -> int:
    """Run the study that the config describes, print its table and where it is."""
    cli = ProbeCLI(arguments)
    cli.datamodule.check_store()
    folder = cli.folder()
    with record_state(folder):
        # A folder that holds a study keeps its config until the study has accepted this one as the same.
        known = (folder / "study.json").exists()
        if not known:
            _write_config(cli, folder)
        results = run_study(
            cli.model,
            cli.datamodule,
            cli.config_init["probe"],
            cli.instantiate_trainer,
            folder,
            encoder=cli.encoder,
            progress=True,
        )
        if known:
            _write_config(cli, folder)
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


def _write_config(cli: ProbeCLI, folder: Path) -> None:
    with atomic_write(folder / "config.yaml") as file:
        file.write(cli.parser.dump(cli.config, skip_none=False))
    write_environment(folder)


def _plain(value: Any) -> Any:
    """Paths as text, so that the value has a JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else value
