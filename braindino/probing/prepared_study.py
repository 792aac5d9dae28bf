"""Everything that a study decides before a cell is trained."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braindino.datasets.checks.leakage import audit, contents_of
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.grid_masks import grid_masks
from braindino.datasets.splits import PARTS
from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import load_encoder
from braindino.errors import BraindinoError
from braindino.identity import id_of
from braindino.probing.baselines.choice import check_data
from braindino.probing.cell import Cell
from braindino.probing.data.cases import ProbeCases
from braindino.probing.data.factory import check_options
from braindino.probing.data.slices import MaskedCases, decoder_shape
from braindino.probing.decoders.base import INITIALISATION, Decoder
from braindino.probing.module import FrozenProbeModule
from braindino.probing.protocol import Protocol
from braindino.probing.recipes import apply_recipe
from braindino.probing.settings import check_settings, describe

CELL_SETTINGS = ("max_epochs", "patience", "select_by", "selection", "precision")


@dataclass(frozen=True)
class PreparedStudy:
    """Everything that is decided before a cell is trained.

    Attributes:
        run_dir: run folder; nothing has been written into it.
        module: the probe, with the options that its recipe leaves to the study; each cell trains a copy.
        protocol: the protocol, with the options that its recipe leaves to the study.
        encoder: the encoder.
        datamodule: the dataset, after `setup`.
        cases: the cases that the study uses.
        masked: the cases with their masks; None unless the head is dense.
        contents: key -> digests of a scan.
        audit: result of the leakage audit.
        settings: content of `study.json`.
    """

    run_dir: Path
    module: FrozenProbeModule
    protocol: Protocol
    encoder: Encoder
    datamodule: ScanDataModule
    cases: ProbeCases
    masked: MaskedCases | None
    contents: dict[str, tuple[str, ...]]
    audit: dict[str, Any]
    settings: dict[str, Any]

    @property
    def cells(self) -> list[Cell]:
        """Return the cells of the protocol, finished or not."""
        folds = (None,) if self.cases.folds is None else range(self.cases.folds)
        return [
            Cell(self.run_dir / "cells", seed, fraction, fold)
            for seed, fraction in self.protocol.cells
            for fold in folds
        ]


def prepare_study(
    module: FrozenProbeModule,
    datamodule: ScanDataModule,
    protocol: Protocol,
    run_dir: Path,
    encoder: Encoder | None = None,
) -> PreparedStudy:
    """Resolve everything that training depends on, and compare it with the run folder.

    The store is filled; nothing is written into the run folder.

    Args:
        module: the probe.
        datamodule: the labelled cases; `prepare_data` and `setup` are called.
        protocol: the protocol.
        run_dir: run folder, new or of an earlier call.
        encoder: encoder to use; by default `module.encoder` is loaded.

    Raises:
        BraindinoError: see `run_study`.
    """
    check_options(module, protocol)
    encoder = load_encoder(module.encoder) if encoder is None else encoder
    _check_encoder(module, encoder)
    datamodule.use_contract(encoder.preprocessing)
    datamodule.prepare_data()
    datamodule.setup("fit")
    module, protocol = apply_recipe(module, protocol, len(datamodule.modalities))
    module.resolve(encoder)
    masks, unusable = grid_masks(datamodule) if module.head.dense else ({}, {})
    cases = ProbeCases.of(datamodule, module.head, protocol.missing, unusable)
    _check_parts(cases)
    check_data(cases, encoder, protocol)
    masked = MaskedCases(cases, datamodule, masks) if module.head.dense else None
    contents = contents_of(cases.table, cases.modalities, datamodule.store)
    prepared = PreparedStudy(
        run_dir=run_dir,
        module=module,
        protocol=protocol,
        encoder=encoder,
        datamodule=datamodule,
        cases=cases,
        masked=masked,
        contents=contents,
        audit=audit(cases.table, cases.modalities, encoder.seen, contents),
        settings=_settings(module, protocol, encoder, cases, masked),
    )
    check_settings(run_dir / "study.json", prepared.settings)
    return prepared


def _check_encoder(module: FrozenProbeModule, encoder: Encoder) -> None:
    """Raise BraindinoError if head and encoder do not suit each other, before scans are prepared."""
    if module.head.dense:
        decoder_shape(encoder, modalities=1)
        copy.deepcopy(module).resolve(encoder)


def _check_parts(cases: ProbeCases) -> None:
    """Raise BraindinoError if a part of the split is empty."""
    empty = [part for part in PARTS if cases.folds is None and cases.part(part).empty]
    if empty:
        counts = ", ".join(f"{len(cases.part(part))} in {part}" for part in PARTS)
        raise BraindinoError(
            f"the split has no case in {' and '.join(empty)} ({counts}): a probe is trained, chosen and "
            "tested on three parts.\n"
            "Give a split_file with all of train, val and test, other fractions, or folds."
        )


def _settings(
    module: FrozenProbeModule,
    protocol: Protocol,
    encoder: Encoder,
    cases: ProbeCases,
    masked: MaskedCases | None,
) -> dict[str, Any]:
    """Return the content of study.json; options of later versions only if they are set."""
    # The digest identifies the encoder; the path may change.
    model = {**describe(module), "encoder": None}
    if isinstance(module.pooling, Decoder):
        # Its arguments are those of the head.
        model["pooling"] = {"class": id_of(type(module.pooling))}
    settings: dict[str, Any] = {
        "encoder": encoder.digest,
        "model": model,
        "protocol": {name: getattr(protocol, name) for name in CELL_SETTINGS},
        "classes": list(cases.classes),
        "cases": cases.digest,
    }
    if protocol.recipe != "default":
        settings["recipe"] = protocol.recipe
    if protocol.cache is False:
        settings["in_loop"] = True
    if masked is not None:
        settings |= {"masks": masked.digest, "initialisation": INITIALISATION}
    return settings
