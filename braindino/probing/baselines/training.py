"""Train the baselines of a study, cell by cell beside those of the probe."""

import copy
import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from braindino.errors import BraindinoError
from braindino.probing.baselines.choice import chosen_baselines, untrained_twin
from braindino.probing.baselines.traits import traits_cell
from braindino.probing.callbacks import MakeTrainer
from braindino.probing.cell import Cell, errors_of
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.probing.module import FrozenProbeModule
from braindino.probing.prepared_study import PreparedStudy
from braindino.probing.protocol import BASELINES
from braindino.probing.study_cells import (
    TrainedCells,
    cell_trainer,
    read_cells,
    train_possible,
)
from braindino.training.study_progress import baseline_folder

# Trains a cell, and what is computed before the first one.
Trainer = tuple[Callable[[Cell], None], Callable[[], object] | None]


def train_baselines(
    prepared: PreparedStudy, trained: TrainedCells, make_trainer: MakeTrainer, progress: bool
) -> None:
    """Train the baselines of every finished cell, and put them into `trained`.

    Cells that fail are named in `baselines_failed`; the finished ones of the baseline are used. Baselines
    that only an earlier call requested are used as far as they are finished.

    Args:
        prepared: the study.
        trained: its cells.
        make_trainer: see `run_study`.
        progress: show on stderr how many cells and epochs are done.
    """
    chosen = chosen_baselines(prepared.module, prepared.cases, prepared.protocol)
    for name in BASELINES:
        folder = baseline_folder(prepared.run_dir, name)
        cells = [
            Cell(folder / "cells", fact["seed"], fact["fraction"], fact.get("fold")) for fact in trained.facts
        ]
        trainer = _trainer(name, prepared, make_trainer, progress) if name in chosen else None
        try:
            if trainer is not None:
                train, before = trainer
                label = f"cells of {name}" if progress else None
                baseline = train_possible(folder, cells, train, prepared.cases.folds, label, before)
                trained.baselines[name] = baseline
                if baseline.failed:
                    trained.baselines_failed[name] = "; ".join(
                        str(error).splitlines()[0] for error in baseline.failed
                    )
                continue
        except BraindinoError as error:
            trained.baselines_failed[name] = str(error)
        if Cell.finished(folder / "cells", prepared.cases.folds):
            trained.baselines[name] = read_cells(folder, prepared.cases.folds)


def _trainer(name: str, prepared: PreparedStudy, make_trainer: MakeTrainer, progress: bool) -> Trainer | None:
    """Return what trains a cell of a baseline; None if the encoder has no untrained twin."""
    module, encoder = prepared.module, prepared.encoder
    if name == "age_sex_site":
        return lambda cell: _train_traits(cell, prepared), None
    if name == "untrained_encoder":
        twin = untrained_twin(encoder)
        if twin is None:
            return None
        encoder = twin
    elif name == "no_tokens":
        prepared = replace(prepared, module=with_head(module, use_tokens=False))
    else:
        prepared = replace(prepared, module=supervised_unet(module))
    return cell_trainer(prepared, encoder, make_trainer, progress, save_probe=False)


def _train_traits(cell: Cell, prepared: PreparedStudy) -> None:
    with errors_of(cell):
        traits_cell(cell, prepared.cases, prepared.module.head.task)


def supervised_unet(module: FrozenProbeModule) -> FrozenProbeModule:
    """Return a probe with the U-Net instead of a decoder of tokens, for the same budget of training.

    Slices, sampling, batches, epochs, changes of the slices and loss are those of the probe; learning rate
    and weight decay are those of the U-Net, because the probe's are chosen for its decoder.

    Args:
        module: the probe of a segmentation.
    """
    changed = with_head(module, decoder="unet", image_size=None, deep_supervision=False)
    changed.lr = changed.weight_decay = None
    return changed


def with_head(module: FrozenProbeModule, **options: Any) -> FrozenProbeModule:
    """Return a copy of the probe of a segmentation with other options of its head, and a frozen encoder.

    Args:
        module: the probe, before `build`.
        options: arguments of the head that differ.
    """
    head = module.head
    assert isinstance(head, SegmentationHead)
    given = {name: getattr(head, name) for name in inspect.signature(type(head)).parameters}
    changed = copy.deepcopy(module)
    changed.head = type(head)(**given | options)
    changed.pooling = changed.head.make_decoder()
    changed.unfreeze = False
    return changed
