"""A study: one head on one encoder, over seeds, label fractions and folds."""

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.analysis.metrics.headlines import unit_of
from braindino.analysis.results import add_details, advantage, metrics_table, summarise
from braindino.csv_text import csv_text
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.splits import PARTS
from braindino.encoders.base import Encoder
from braindino.errors import BraindinoError
from braindino.files import atomic_write, write_json
from braindino.probing.artifacts.cases import write_cases, write_dropped
from braindino.probing.artifacts.patches import write_patch_colours
from braindino.probing.baselines.training import train_baselines
from braindino.probing.callbacks import MakeTrainer
from braindino.probing.module import FrozenProbeModule
from braindino.probing.predict.checks import write_training_scans
from braindino.probing.predict.probe import write_record
from braindino.probing.prepared_study import PreparedStudy, prepare_study
from braindino.probing.protocol import Protocol
from braindino.probing.study_cells import TrainedCells, cell_trainer, failure_message, train_possible

SELECTION = {
    "validation": "epoch chosen on validation, test evaluated once",
    "test": "epoch chosen ON THE TEST PART (BrainDINO's released code): too good, not an estimate",
}


def run_study(
    module: FrozenProbeModule,
    datamodule: ScanDataModule,
    protocol: Protocol,
    make_trainer: MakeTrainer,
    run_dir: Path,
    encoder: Encoder | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Extract features, train every unfinished cell, and write the results of all cells.

    Writes `predictions.csv` (validation and test; all cells), `results.json`, `metrics.csv`, `cases.csv`,
    `dropped.csv`, `study.json`, `probe.json`, `training_scans.json` and `patches.npz` into `run_dir`, and
    each cell with its trained probe into `run_dir/cells`, where `load_probe` reads it. A study that was
    interrupted is continued by the next call. On a CPU the same study gives the same bytes. Cells of seeds
    and fractions that only an earlier call asked for stay, and are part of the results.

    If the data has `folds` and no `fold`, each cell is trained once per fold, with that fold as the test
    part.

    Args:
        module: the probe; each cell trains a copy of it.
        datamodule: the labelled cases; its store is prepared by the encoder's contract.
        protocol: seeds, label fractions and the rules of training and evaluation.
        make_trainer: called once per cell with keyword arguments of Lightning's Trainer that the study sets.
        run_dir: run folder.
        encoder: encoder to use; by default `module.encoder` is loaded.
        progress: show on stderr how many scans, cells and epochs are done.

    Returns:
        The content of results.json; `results_table` formats it as text.

    Raises:
        BraindinoError: people shared between parts of the split, a folder of another study, labels that the
            head cannot use, a store of another contract; or, after the results of all other cells were
            written, cells that cannot be trained.
    """
    prepared = prepare_study(module, datamodule, protocol, run_dir, encoder)
    trained = train_cells(prepared, make_trainer, progress)
    return write_results(prepared, trained)


def train_cells(prepared: PreparedStudy, make_trainer: MakeTrainer, progress: bool = False) -> TrainedCells:
    """Write the files that describe the study, and train every unfinished cell and baseline.

    Args:
        prepared: the study.
        make_trainer: see `run_study`.
        progress: show on stderr how many scans, cells and epochs are done.

    Raises:
        BraindinoError: no cell can be trained.
    """
    _write_description(prepared)
    train, data = cell_trainer(prepared, prepared.encoder, make_trainer, progress, save_probe=True)
    label = "cells" if progress else None
    trained = train_possible(
        prepared.run_dir, prepared.cells, train, prepared.cases.folds, label, before=data
    )
    if prepared.protocol.baselines:
        train_baselines(prepared, trained, make_trainer, progress)
    return trained


def _write_description(prepared: PreparedStudy) -> None:
    """Write study.json, cases.csv, probe.json, training_scans.json and patches.npz."""
    run_dir, cases, store = prepared.run_dir, prepared.cases, prepared.datamodule.store
    if not (run_dir / "study.json").is_file():
        write_json(run_dir / "study.json", prepared.settings)
    write_cases(run_dir, cases, prepared.contents)
    write_record(run_dir, prepared.module, cases, prepared.encoder, store.strip_cmd)
    # In cross-validation every case is a training case of some fold.
    trained_on = cases.table if cases.folds is None else cases.table.assign(split="train")
    write_training_scans(run_dir, trained_on, cases.modalities, store)
    write_patch_colours(run_dir, prepared.encoder, cases, store)


def write_results(prepared: PreparedStudy, trained: TrainedCells) -> dict[str, Any]:
    """Write results.json, metrics.csv and dropped.csv of a study.

    Args:
        prepared: the study.
        trained: its cells.

    Returns:
        The content of results.json.

    Raises:
        BraindinoError: some cells could not be trained; raised after the results of the others were written.
    """
    module, cases, protocol = prepared.module, prepared.cases, prepared.protocol
    summarised = partial(summarise, resamples=protocol.resamples)
    results: dict[str, Any] = {
        "task": module.head.task,
        "target": list(cases.target_names),
        "unit": module.head.unit or unit_of(cases.target_names),
        "classes": list(cases.classes),
        "encoder": {"name": module.encoder, "digest": prepared.encoder.digest},
        "selection": SELECTION[protocol.selection],
        "recipe": protocol.recipe,
        "standardise": module.standardises,
        "folds": cases.folds,
        "asked": {"seeds": protocol.seeds, "fractions": protocol.fractions},
        "cases": {part: _counts(cases.part(part)) for part in PARTS},
        "dropped": write_dropped(prepared.run_dir, prepared.datamodule.dropped, cases.excluded),
        "audit": prepared.audit,
        **summarised(trained.predictions, trained.facts),
        "failed": [str(error) for error in trained.failed],
        "baselines": {},
        "baselines_failed": trained.baselines_failed,
    }
    add_details(results, trained.predictions, protocol.resamples)
    for name, baseline in trained.baselines.items():
        results["baselines"][name] = {
            **summarised(baseline.predictions, baseline.facts),
            "advantage": advantage(
                trained.predictions, baseline.predictions, module.head.task, protocol.resamples
            ),
        }
    write_json(prepared.run_dir / "results.json", results)
    with atomic_write(prepared.run_dir / "metrics.csv") as file:
        file.write(csv_text(metrics_table(results)))
    if trained.failed:
        raise BraindinoError(
            f"{failure_message(trained.failed)}\n"
            f"The results of the {len(trained.facts)} cells that were trained are in {prepared.run_dir}."
        )
    return results


def _counts(cases: pd.DataFrame) -> dict[str, int]:
    return {"cases": len(cases), "people": int(cases["group"].nunique())}
