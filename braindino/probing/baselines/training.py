"""Train the baselines of a study, cell by cell beside those of the probe."""

from collections.abc import Callable

from braindino.errors import BraindinoError
from braindino.probing.baselines.traits import known_traits, traits_cell
from braindino.probing.callbacks import MakeTrainer
from braindino.probing.cell import Cell
from braindino.probing.prepared_study import PreparedStudy
from braindino.probing.study_cells import TrainedCells, cell_trainer, run_cells


def train_baselines(
    prepared: PreparedStudy, trained: TrainedCells, make_trainer: MakeTrainer, progress: bool
) -> None:
    """Train the baselines of every finished cell, and put them into `trained`."""
    cases, encoder = prepared.cases, prepared.encoder
    baselines: dict[str, tuple[Callable[[Cell], None], Callable[[], object] | None]] = {}
    if known_traits(cases) and not prepared.module.head.dense:
        baselines["age_sex_site"] = (lambda cell: traits_cell(cell, cases, prepared.module.head.task)), None
    untrained = encoder.untrained()
    if untrained is not None and untrained.digest != encoder.digest:
        baselines["untrained_encoder"] = cell_trainer(
            prepared, untrained, make_trainer, progress, save_probe=False
        )
    for name, (train, before) in baselines.items():
        folder = prepared.run_dir / "baselines" / name
        cells = [
            Cell(folder / "cells", fact["seed"], fact["fraction"], fact.get("fold")) for fact in trained.facts
        ]
        label = f"cells of {name}" if progress else None
        try:
            predictions, facts = run_cells(folder, cells, train, cases.folds, label, before)
        except BraindinoError as error:
            trained.baselines_failed[name] = str(error)
        else:
            trained.baselines[name] = TrainedCells(predictions, facts)
