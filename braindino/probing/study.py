"""A study: one head on one encoder, over seeds, label fractions and folds, from the store to results.json."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

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
from braindino.probing.artifacts.cases import keep_cases, keep_dropped
from braindino.probing.artifacts.patches import keep_patch_colours
from braindino.probing.baselines import known_traits, traits_cell
from braindino.probing.cell import Cell, MakeTrainer, device_of, train_cell
from braindino.probing.data.base import CaseData
from braindino.probing.data.cases import ProbeCases
from braindino.probing.data.factory import case_data, check_way
from braindino.probing.data.slices import MaskedCases
from braindino.probing.decoder import INITIALISATION
from braindino.probing.epoch_progress import with_epochs
from braindino.probing.module import FrozenProbeModule
from braindino.probing.predict.checks import keep_training_scans
from braindino.probing.predict.probe import keep_recipe
from braindino.probing.protocol import Protocol
from braindino.probing.recipes import apply_recipe
from braindino.probing.settings import describe, keep_settings
from braindino.progress import ProgressReport

SHAPES_A_CELL = ("max_epochs", "patience", "select_by", "selection", "precision")
SELECTION = {
    "validation": "epoch chosen on validation, test evaluated once",
    "test": "epoch chosen ON THE TEST PART (BrainDINO's released code): too good, not an estimate",
}


PAUSE = 15.0  # seconds between two lines about cells


class CellRunner(NamedTuple):
    """`run` trains a cell; `before` makes what all cells share, called once before the first."""

    run: Callable[[Cell], None]
    before: Callable[[], object] = lambda: None


def run_study(
    module: FrozenProbeModule,
    datamodule: ScanDataModule,
    protocol: Protocol,
    make_trainer: MakeTrainer,
    run_dir: Path,
    encoder: Encoder | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Extract features once, run every cell that is not done yet, and write what all of them show.

    Writes `predictions.csv` (validation and test; all cells), `results.json`, `metrics.csv`, `cases.csv`,
    `dropped.csv`, `study.json`, `probe.json`, `training_scans.json` and `patches.npz` into `run_dir`, and
    each cell with its trained probe into `run_dir/cells`; `load_probe` reads them again. Interrupting it is
    safe, and the next call goes on. On a CPU the same study gives the same bytes. Cells of seeds and
    fractions that an earlier call ran stay, and are in the results, although this call does not ask for them.

    Where the data has `folds` and no `fold`, each cell is run for every fold as the test part.

    Args:
        module: never trained itself: each cell trains a copy of it.
        datamodule: the labelled cases; its store is prepared by the encoder's contract.
        make_trainer: called once per cell with keyword arguments of Lightning's Trainer that the study sets.
        encoder: used instead of loading `module.encoder`.
        progress: show on stderr how many scans, cells and epochs are done.

    Returns:
        What is in results.json; `results_table` makes text of it.

    Raises:
        BraindinoError: people shared between parts of the split, a folder that holds another study, labels
            that the head cannot use, a store of another contract; or cells that cannot be trained, after the
            results of all others were written.
    """
    check_way(module, protocol)
    encoder = load_encoder(module.encoder) if encoder is None else encoder
    datamodule.use_contract(encoder.preprocessing)
    datamodule.prepare_data()
    datamodule.setup("fit")
    module, protocol = apply_recipe(module, protocol, len(datamodule.modalities))
    masks, unusable = grid_masks(datamodule) if module.head.dense else ({}, {})
    cases = ProbeCases.of(datamodule, module.head, protocol.missing, unusable)
    _check_parts(cases)
    masked = MaskedCases(cases, datamodule, masks) if module.head.dense else None
    contents = contents_of(cases.table, cases.modalities, datamodule.store)
    leaks = audit(cases.table, cases.modalities, encoder.seen, contents)
    settings = {
        "encoder": encoder.digest,
        "model": {**describe(module), "encoder": None},  # known by its digest, wherever it lies
        "protocol": {name: getattr(protocol, name) for name in SHAPES_A_CELL},
        "classes": list(cases.classes),
        "cases": cases.digest,
        **({"recipe": protocol.recipe} if protocol.recipe != "default" else {}),
        **({"in_loop": True} if protocol.cache is False else {}),
        **({"masks": masked.digest, "initialisation": INITIALISATION} if masked else {}),
    }
    keep_settings(run_dir / "study.json", settings)
    keep_cases(run_dir, cases, contents)
    keep_recipe(run_dir, module, cases, encoder, datamodule.store.strip_cmd)
    trained_on = cases.table if cases.folds is None else cases.table.assign(split="train")  # by some fold
    keep_training_scans(run_dir, trained_on, cases.modalities, datamodule.store)

    keep_patch_colours(run_dir, encoder, cases, datamodule.store)

    def probe(network: Encoder, keep: bool) -> CellRunner:
        @cache
        def data() -> CaseData:
            device = device_of(make_trainer)
            return case_data(network, module, cases, masked, datamodule, protocol, device, progress)

        def run(cell: Cell) -> None:
            trainers = with_epochs(make_trainer, cell.told, progress)
            train_cell(cell, module, cases, data(), protocol, trainers, keep)

        return CellRunner(run, data)

    asked = [
        Cell(run_dir / "cells", seed, fraction, fold)
        for seed, fraction in protocol.cells
        for fold in ((None,) if cases.folds is None else range(cases.folds))
    ]
    label = "cells" if progress else None
    predictions, facts, failed = _run_those_that_can(
        run_dir, asked, probe(encoder, keep=True), cases.folds, label
    )
    baselines: dict[str, CellRunner] = {}
    if protocol.baselines:
        if known_traits(cases) and not module.head.dense:
            baselines["age_sex_site"] = CellRunner(lambda cell: traits_cell(cell, cases, module.head.task))
        twin = encoder.untrained()
        if twin is not None and twin.digest != encoder.digest:
            baselines["untrained_encoder"] = probe(twin, keep=False)
    results: dict[str, Any] = {
        "task": module.head.task,
        "target": list(cases.target_names),
        "unit": module.head.unit or unit_of(cases.target_names),
        "classes": list(cases.classes),
        "encoder": {"name": module.encoder, "digest": encoder.digest},
        "selection": SELECTION[protocol.selection],
        "recipe": protocol.recipe,
        "standardise": module.standardises,
        "folds": cases.folds,
        "asked": {"seeds": protocol.seeds, "fractions": protocol.fractions},
        "cases": {part: _counts(cases.part(part)) for part in PARTS},
        "dropped": keep_dropped(run_dir, datamodule.dropped, cases.left_out),
        "audit": leaks,
        **summarise(predictions, facts, protocol.resamples),
        "failed": [str(error) for error in failed],
        "baselines": {},
        "baselines_failed": {},
    }
    add_details(results, predictions, protocol.resamples)
    for name, runner in baselines.items():
        folder = run_dir / "baselines" / name
        beside = [Cell(folder / "cells", fact["seed"], fact["fraction"], fact.get("fold")) for fact in facts]
        label = f"cells of {name}" if progress else None
        try:
            other, other_facts = run_cells(folder, beside, runner, cases.folds, label)
        except BraindinoError as error:
            results["baselines_failed"][name] = str(error)
            continue
        results["baselines"][name] = {
            **summarise(other, other_facts, protocol.resamples),
            "advantage": advantage(predictions, other, module.head.task, protocol.resamples),
        }
    write_json(run_dir / "results.json", results)
    with atomic_write(run_dir / "metrics.csv") as file:
        file.write(csv_text(metrics_table(results)))
    if failed:
        raise BraindinoError(
            f"{_told(failed)}\nThe results of the {len(facts)} cells that were trained are in {run_dir}."
        )
    return results


def _check_parts(cases: ProbeCases) -> None:
    """Raise BraindinoError for a split of which a part is empty."""
    empty = [part for part in PARTS if cases.folds is None and cases.part(part).empty]
    if empty:
        counts = ", ".join(f"{len(cases.part(part))} in {part}" for part in PARTS)
        raise BraindinoError(
            f"the split has no case in {' and '.join(empty)} ({counts}): a probe is trained, chosen and "
            "tested on three parts.\n"
            "Give a split_file with all of train, val and test, other fractions, or folds."
        )


def _run_those_that_can(
    folder: Path, asked: Sequence[Cell], runner: CellRunner, folds: int | None, label: str | None
) -> tuple[pd.DataFrame, list[dict[str, Any]], list[CellError]]:
    """As `run_cells`, but with the errors of those that cannot be trained as long as others can."""
    failed: list[CellError] = []
    left = [cell for cell in asked if not cell.done]
    if left:
        runner.before()  # not within the time of the first cell
    show, done = label is not None and bool(left), len(asked) - len(left)
    with ProgressReport(len(asked), label or "cells", "cell", show, done, pause=PAUSE) as progress:
        for cell in left:
            progress.note(cell.told)
            try:
                runner.run(cell)
            except CellError as error:
                failed.append(error)
            progress.advance()
    finished = [cell.read() for cell in Cell.finished(folder / "cells", folds)]
    if not finished:
        raise BraindinoError(_told(failed))
    predictions = pd.concat([table for table, _ in finished], ignore_index=True)
    with atomic_write(folder / "predictions.csv") as file:
        file.write(format_predictions(predictions))
    return align_risks(predictions), [facts for _, facts in finished], failed


def _told(failed: Sequence[CellError]) -> str:
    return f"{failed[0]}" + (f"\n{len(failed) - 1} more cells failed." if len(failed) > 1 else "")


def run_cells(
    folder: Path,
    asked: Sequence[Cell],
    runner: CellRunner,
    folds: int | None = None,
    label: str | None = None,
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """Run those of the cells `asked` for that are not done, and write the predictions of all that are.

    Args:
        folder: where `cells` is, and `predictions.csv` is written.
        asked: the cells.
        runner: trains one.
        folds: of each seed and fraction; see `Cell.finished`.
        label: what stderr shows how many of are done; None shows nothing.

    Returns:
        The predictions (`align_risks`) and the facts of every finished cell in `folder`, asked for or not.

    Raises:
        BraindinoError: some cells cannot be trained; told when all others are done.
    """
    predictions, facts, failed = _run_those_that_can(folder, asked, runner, folds, label)
    if failed:
        raise BraindinoError(_told(failed))
    return predictions, facts


def _counts(cases: pd.DataFrame) -> dict[str, int]:
    return {"cases": len(cases), "people": int(cases["group"].nunique())}
