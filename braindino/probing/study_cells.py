"""The cells of a study or of a baseline: trained one by one, and read together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.analysis.predictions import align_risks, format_predictions
from braindino.encoders.base import Encoder
from braindino.errors import BraindinoError, CellError
from braindino.files import atomic_write
from braindino.probing.callbacks import MakeTrainer
from braindino.probing.cell import Cell
from braindino.probing.cell_training import device_of, train_cell
from braindino.probing.data.base import CaseData
from braindino.probing.data.factory import case_data
from braindino.probing.prepared_study import PreparedStudy
from braindino.progress import ProgressReport

# Seconds between two lines about cells.
PAUSE = 15.0


@dataclass(frozen=True)
class TrainedCells:
    """Predictions of all finished cells of a run folder, and of its baselines.

    Attributes:
        predictions: rows of predictions.csv of all cells, on `align_risks`.
        facts: content of `cell.json` of every cell.
        failed: errors of the cells that could not be trained.
        baselines: name of a baseline -> its cells.
        baselines_failed: name of a baseline -> the reason why it, or some of its cells, could not be trained.
    """

    predictions: pd.DataFrame
    facts: list[dict[str, Any]]
    failed: list[CellError] = field(default_factory=list)
    baselines: dict[str, "TrainedCells"] = field(default_factory=dict)
    baselines_failed: dict[str, str] = field(default_factory=dict)


def cell_trainer(
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
    trained = train_possible(folder, cells, train, folds, label, before)
    if trained.failed:
        raise BraindinoError(failure_message(trained.failed))
    return trained.predictions, trained.facts


def train_possible(
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
    if not Cell.finished(folder / "cells", folds):
        raise BraindinoError(failure_message(failed))
    return read_cells(folder, folds, failed)


def read_cells(folder: Path, folds: int | None, failed: Sequence[CellError] = ()) -> TrainedCells:
    """Return the finished cells of a folder, and write the predictions of all of them.

    Args:
        folder: parent of `cells`, of which at least one is finished; `predictions.csv` is written there.
        folds: number of folds of each seed and fraction; see `Cell.finished`.
        failed: errors of the cells that could not be trained.
    """
    finished = [cell.read() for cell in Cell.finished(folder / "cells", folds)]
    predictions = pd.concat([table for table, _ in finished], ignore_index=True)
    with atomic_write(folder / "predictions.csv") as file:
        file.write(format_predictions(predictions))
    return TrainedCells(align_risks(predictions), [facts for _, facts in finished], list(failed))


def failure_message(failed: Sequence[CellError]) -> str:
    """Return the first error, and the number of further ones.

    Args:
        failed: errors of cells; at least one.
    """
    return f"{failed[0]}" + (f"\n{len(failed) - 1} more cells failed." if len(failed) > 1 else "")
