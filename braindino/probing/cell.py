"""A cell of a study: one seed, label fraction and fold, trained, evaluated once and saved."""

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import pandas as pd
import torch

from braindino.analysis.predictions import format_predictions, read_predictions
from braindino.csv_text import csv_text
from braindino.errors import BraindinoError, CellError
from braindino.files import atomic_write, read_json, write_json
from braindino.probing.data.cases import ProbeCases

WEIGHTS = "probe.pt"


class CellFacts(TypedDict):
    """Required keys of cell.json.

    Attributes:
        seed: seed of the cell.
        fraction: label fraction of the cell.
        fold: number of the fold that is tested; None or absent without folds.
        train_cases: number of labelled training cases.
        train_people: number of people among them.
    """

    seed: int
    fraction: float
    fold: NotRequired[int | None]
    train_cases: int
    train_people: int


class Cell:
    """The folder of a cell, as `seed0_fraction1.0`, or `seed0_fraction1.0_fold2` with folds.

    It contains `predictions.csv`, `epochs.csv`, `probe.pt` (see `probe_state`; readable by torch with
    weights_only=True) and `cell.json`, which is written last.

    Args:
        root: parent folder of all cells.
        seed: seed of the initialisation, of the order of batches and of the choice of labelled people.
        fraction: fraction of the training people whose labels are used.
        fold: number of the fold that is tested; None without folds.
    """

    def __init__(self, root: Path, seed: int, fraction: float, fold: int | None = None) -> None:
        self.seed, self.fraction, self.fold = seed, float(fraction), fold
        suffix = "" if fold is None else f"_fold{fold}"
        self.folder = root / f"seed{seed}_fraction{self.fraction}{suffix}"

    @classmethod
    def finished(cls, root: Path, folds: int | None = None) -> list["Cell"]:
        """Return the finished cells below a folder, by fraction, seed and fold.

        Args:
            root: parent folder of all cells.
            folds: with a number, return only cells of a seed and fraction with so many finished folds.
        """
        cells = [cls._of(file) for file in sorted(root.glob("seed*/cell.json"))]
        done = Counter((cell.fraction, cell.seed) for cell in cells)
        whole = [cell for cell in cells if done[cell.fraction, cell.seed] == (folds or 1)]
        return sorted(whole, key=lambda cell: (cell.fraction, cell.seed, cell.fold or 0))

    @classmethod
    def _of(cls, file: Path) -> "Cell":
        """Return the cell of a `cell.json`."""
        facts = read_json(file, CellFacts)
        cell = cls(file.parent.parent, facts["seed"], facts["fraction"], facts.get("fold"))
        if cell.folder != file.parent:
            raise BraindinoError(
                f"{file}: names the cell {cell.folder.name}, but lies in {file.parent.name}; it was damaged "
                f"or edited.\nRemove {file.parent} and run the same `braindino probe` again."
            )
        return cell

    @property
    def names(self) -> dict[str, int | float]:
        """Return seed, fraction, and the fold if there are folds: the columns of predictions.csv."""
        fold = {} if self.fold is None else {"fold": self.fold}
        return {"seed": self.seed, "fraction": self.fraction, **fold}

    @property
    def label(self) -> str:
        """Return the `names` as text."""
        return ", ".join(f"{name} {value}" for name, value in self.names.items())

    def within(self, cases: ProbeCases) -> ProbeCases:
        """Return the cases with the split of this cell."""
        return cases if self.fold is None else cases.of_fold(self.fold)

    @property
    def done(self) -> bool:
        """Return whether the cell is finished."""
        return (self.folder / "cell.json").is_file()

    def read(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Return predictions and training facts of a finished cell."""
        try:
            predictions = read_predictions(self.folder / "predictions.csv")
        except ValueError as error:
            raise BraindinoError(
                f"{error}.\nRemove {self.folder} and run the same `braindino probe` again."
            ) from None
        return predictions, read_json(self.folder / "cell.json", CellFacts)

    def write(
        self,
        predictions: pd.DataFrame,
        facts: dict[str, Any],
        epochs: pd.DataFrame | None = None,
        probe: dict[str, Any] | None = None,
    ) -> None:
        """Write all files atomically, last `cell.json`, which marks the cell as finished.

        Args:
            predictions: rows of predictions.csv.
            facts: training facts, for `cell.json`.
            epochs: logged values per epoch; None writes no `epochs.csv`.
            probe: the trained probe (`probe_state`); None writes no `probe.pt`.
        """
        texts = {"predictions.csv": format_predictions(predictions)}
        if epochs is not None:
            texts["epochs.csv"] = csv_text(epochs)
        for name, text in texts.items():
            with atomic_write(self.folder / name) as file:
                file.write(text)
        if probe is not None:
            buffer = io.BytesIO()
            torch.save(probe, buffer)
            with atomic_write(self.folder / WEIGHTS, "wb") as file:
                file.write(buffer.getbuffer())
        write_json(self.folder / "cell.json", {**self.names, **facts})


@contextmanager
def errors_of(cell: Cell) -> Iterator[None]:
    """Raise a BraindinoError of the block as a CellError, so that the other cells are trained."""
    try:
        yield
    except BraindinoError as error:
        raise CellError(f"{cell.label}: {error}") from error
