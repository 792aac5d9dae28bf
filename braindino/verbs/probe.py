"""Train and test a head on a frozen encoder."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from braindino.errors import BraindinoError

if TYPE_CHECKING:
    from braindino.analysis.runs import Run
    from braindino.datasets.datamodule import ScanDataModule
    from braindino.encoders.base import Encoder
    from braindino.probing.callbacks import MakeTrainer
    from braindino.probing.heads.base import Head
    from braindino.probing.module import FrozenProbeModule
    from braindino.probing.pooling import Pooling
    from braindino.probing.protocol import Protocol

RUNS = Path("runs") / "probe"


def probe(
    data: "ScanDataModule",
    encoder: "Encoder | Path | str",
    head: "Head | None" = None,
    pooling: "Pooling | None" = None,
    *,
    module: "FrozenProbeModule | None" = None,
    protocol: "Protocol | None" = None,
    run_dir: Path | str | None = None,
    make_trainer: "MakeTrainer | None" = None,
    config: str | None = None,
    progress: bool = True,
) -> "Run":
    """Train and test a head on a frozen encoder, over seeds and label fractions.

    Calling it again with the same study continues where it stopped; finished cells are not trained again.

    Args:
        data: the labelled cases.
        encoder: the encoder, or any form of it that `load_encoder` reads. A probe on an encoder that is given
            itself is loaded with `load_probe(..., encoder=encoder)`.
        head: head that predicts the target.
        pooling: pooling of slices to one vector per case; the mean if omitted.
        module: the probe with all its options, instead of `head` and `pooling`.
        protocol: seeds, label fractions and rules of training; by default five seeds on all labels.
        run_dir: run folder; by default `runs/probe/<encoder>/<id>`, where the id follows from the study.
        make_trainer: makes the trainer of a cell from keyword arguments of Lightning's Trainer; by default
            one on the accelerator if there is one.
        config: content of `config.yaml`, which is written into the run folder with `environment.json`: for a
            new study at the beginning, for one that is continued at the end.
        progress: show on stderr how many scans, cells and epochs are done.

    Returns:
        The run: `results`, `predictions`, and the other files in its folder.

    Raises:
        BraindinoError: an argument or the data cannot be used, the folder contains another study, another
            process runs in it, or cells that cannot be trained.
    """
    from braindino.analysis.runs import Run
    from braindino.encoders.base import Encoder
    from braindino.encoders.checkpoints import encoder_label, load_encoder
    from braindino.files import digest_of_json
    from braindino.probing.module import FrozenProbeModule
    from braindino.probing.prepared_study import prepare_study
    from braindino.probing.protocol import Protocol
    from braindino.probing.study import train_cells, write_results
    from braindino.scans.store.store import Store
    from braindino.training.state import record_state

    name = type(encoder).__name__ if isinstance(encoder, Encoder) else str(encoder)
    if (head is None) == (module is None):
        raise BraindinoError("probe: give either a head or a module.")
    if module is None:
        assert head is not None
        module = FrozenProbeModule(name, head, pooling)
    if not isinstance(encoder, Encoder):
        encoder = load_encoder(name, Store.contract_at(data.store_path))
    protocol, prepared = protocol or Protocol(), None
    if run_dir is None:
        prepared = prepare_study(module, data, protocol, RUNS, encoder)
        run_dir = RUNS / encoder_label(name) / digest_of_json(prepared.settings)[:8]
        prepared = replace(prepared, run_dir=run_dir)
    folder = Path(run_dir)
    with record_state(folder):
        is_new = not (folder / "study.json").exists()
        if config is not None and is_new:
            _write_config(folder, config)
        prepared = prepared or prepare_study(module, data, protocol, folder, encoder)
        trained = train_cells(prepared, make_trainer or _default_trainer(), progress)
        write_results(prepared, trained)
        if config is not None and not is_new:
            _write_config(folder, config)
    return Run(folder)


def _write_config(folder: Path, config: str) -> None:
    """Write config.yaml, and add this start of the run to environment.json."""
    from braindino.files import atomic_write
    from braindino.training.run_folder import write_environment

    with atomic_write(folder / "config.yaml") as file:
        file.write(config)
    write_environment(folder)


def _default_trainer() -> "MakeTrainer":
    """Return a function that makes trainers on one device."""
    from lightning.pytorch import Trainer

    return partial(Trainer, accelerator="auto", devices=1)
