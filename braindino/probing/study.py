"""A study: one head on one encoder, over seeds, label fractions and folds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.analysis.metrics.headlines import unit_of
from braindino.analysis.predictions import align_risks, format_predictions
from braindino.analysis.results import add_details, advantage, metrics_table, summarise
from braindino.csv_text import csv_text
from braindino.datasets.checks.leakage import audit, contents_of
from braindino.datasets.datamodule import ScanDataModule
from braindino.datasets.grid_masks import grid_masks
from braindino.datasets.splits import PARTS
from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import load_encoder
from braindino.errors import BraindinoError, CellError
from braindino.files import atomic_write, write_json
from braindino.identity import id_of
from braindino.probing.artifacts.cases import write_cases, write_dropped
from braindino.probing.artifacts.patches import write_patch_colours
from braindino.probing.baselines import known_traits, traits_cell
from braindino.probing.callbacks import MakeTrainer
from braindino.probing.cell import Cell, device_of, train_cell
from braindino.probing.data.base import CaseData
from braindino.probing.data.cases import ProbeCases
from braindino.probing.data.factory import case_data, check_options
from braindino.probing.data.slices import MaskedCases
from braindino.probing.decoders.base import INITIALISATION, Decoder
from braindino.probing.module import FrozenProbeModule
from braindino.probing.predict.checks import write_training_scans
from braindino.probing.predict.probe import write_record
from braindino.probing.protocol import Protocol
from braindino.probing.recipes import apply_recipe
from braindino.probing.settings import check_settings, describe
from braindino.progress import ProgressReport

CELL_SETTINGS = ("max_epochs", "patience", "select_by", "selection", "precision")
SELECTION = {
    "validation": "epoch chosen on validation, test evaluated once",
    "test": "epoch chosen ON THE TEST PART (BrainDINO's released code): too good, not an estimate",
}
# Seconds between two lines about cells.
PAUSE = 15.0


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


@dataclass(frozen=True)
class TrainedCells:
    """Predictions of all finished cells of a run folder, and of its baselines.

    Attributes:
        predictions: rows of predictions.csv of all cells, on `align_risks`.
        facts: content of `cell.json` of every cell.
        failed: errors of the cells that could not be trained.
        baselines: name of a baseline -> its cells.
        baselines_failed: name of a baseline -> the reason why it could not be trained.
    """

    predictions: pd.DataFrame
    facts: list[dict[str, Any]]
    failed: list[CellError] = field(default_factory=list)
    baselines: dict[str, "TrainedCells"] = field(default_factory=dict)
    baselines_failed: dict[str, str] = field(default_factory=dict)


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
    datamodule.use_contract(encoder.preprocessing)
    datamodule.prepare_data()
    datamodule.setup("fit")
    module, protocol = apply_recipe(module, protocol, len(datamodule.modalities))
    module.resolve(encoder)
    masks, unusable = grid_masks(datamodule) if module.head.dense else ({}, {})
    cases = ProbeCases.of(datamodule, module.head, protocol.missing, unusable)
    _check_parts(cases)
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
    train, data = _cell_trainer(prepared, prepared.encoder, make_trainer, progress, save_probe=True)
    label = "cells" if progress else None
    trained = _train_possible(
        prepared.run_dir, prepared.cells, train, prepared.cases.folds, label, before=data
    )
    if prepared.protocol.baselines:
        _train_baselines(prepared, trained, make_trainer, progress)
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


def _cell_trainer(
    prepared: PreparedStudy, encoder: Encoder, make_trainer: MakeTrainer, progress: bool, save_probe: bool
) -> tuple[Callable[[Cell], None], Callable[[], CaseData]]:
    """Return a function that trains a cell, and one that returns the data of all cells."""

    @cache
    def data() -> CaseData:
        return case_data(
            encoder,
            prepared.module,
            prepared.cases,
            prepared.masked,
            prepared.datamodule,
            prepared.protocol,
            device_of(make_trainer),
            progress,
        )

    def train(cell: Cell) -> None:
        train_cell(
            cell,
            prepared.module,
            prepared.cases,
            data(),
            prepared.protocol,
            make_trainer,
            save_probe,
            progress,
        )

    return train, data


def _train_baselines(
    prepared: PreparedStudy, trained: TrainedCells, make_trainer: MakeTrainer, progress: bool
) -> None:
    """Train the baselines of every finished cell, and put them into `trained`."""
    cases, encoder = prepared.cases, prepared.encoder
    baselines: dict[str, tuple[Callable[[Cell], None], Callable[[], object] | None]] = {}
    if known_traits(cases) and not prepared.module.head.dense:
        baselines["age_sex_site"] = (lambda cell: traits_cell(cell, cases, prepared.module.head.task)), None
    untrained = encoder.untrained()
    if untrained is not None and untrained.digest != encoder.digest:
        baselines["untrained_encoder"] = _cell_trainer(
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


def run_cells(
    folder: Path,
    cells: Sequence[Cell],
    train: Callable[[Cell], None],
    folds: int | None = None,
    label: str | None = None,
    before: Callable[[], object] | None = None,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Train the unfinished ones of `cells`, and write the predictions of all finished cells.

    Args:
        folder: parent of `cells`; `predictions.csv` is written there.
        cells: the cells to train.
        train: trains one cell.
        folds: number of folds of each seed and fraction; see `Cell.finished`.
        label: text on stderr beside the number of finished cells; None shows nothing.
        before: called once before the first cell is trained, so that its time counts to no cell.

    Returns:
        The predictions (`align_risks`) and the facts of every finished cell in `folder`, also of cells that
        are not in `cells`.

    Raises:
        BraindinoError: some cells cannot be trained; raised when all others are finished.
    """
    trained = _train_possible(folder, cells, train, folds, label, before)
    if trained.failed:
        raise BraindinoError(_message(trained.failed))
    return trained.predictions, trained.facts


def _train_possible(
    folder: Path,
    cells: Sequence[Cell],
    train: Callable[[Cell], None],
    folds: int | None,
    label: str | None,
    before: Callable[[], object] | None,
) -> TrainedCells:
    """Train cells as `run_cells` does, but return the errors of single cells."""
    failed: list[CellError] = []
    unfinished = [cell for cell in cells if not cell.done]
    if unfinished and before is not None:
        before()
    show = label is not None and bool(unfinished)
    done = len(cells) - len(unfinished)
    with ProgressReport(len(cells), label or "cells", "cell", show, done, pause=PAUSE) as progress:
        for cell in unfinished:
            progress.note(cell.label)
            try:
                train(cell)
            except CellError as error:
                failed.append(error)
            progress.advance()
    finished = [cell.read() for cell in Cell.finished(folder / "cells", folds)]
    if not finished:
        raise BraindinoError(_message(failed))
    predictions = pd.concat([table for table, _ in finished], ignore_index=True)
    with atomic_write(folder / "predictions.csv") as file:
        file.write(format_predictions(predictions))
    return TrainedCells(align_risks(predictions), [facts for _, facts in finished], failed)


def _message(failed: Sequence[CellError]) -> str:
    return f"{failed[0]}" + (f"\n{len(failed) - 1} more cells failed." if len(failed) > 1 else "")


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
            f"{_message(trained.failed)}\n"
            f"The results of the {len(trained.facts)} cells that were trained are in {prepared.run_dir}."
        )
    return results


def _counts(cases: pd.DataFrame) -> dict[str, int]:
    return {"cases": len(cases), "people": int(cases["group"].nunique())}
