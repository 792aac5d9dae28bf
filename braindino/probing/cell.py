"""One cell of a study: a seed, a fraction (and a fold); trained, evaluated once, written, never run again."""

import copy
import io
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
import pandas as pd
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from braindino.analysis.predictions import TRAITS, format_predictions, read_predictions
from braindino.csv_text import csv_text
from braindino.errors import BraindinoError, CellError
from braindino.files import atomic_write, read_json, write_json
from braindino.probing.artifacts.examples import keep_examples
from braindino.probing.data.base import Batch, CaseData
from braindino.probing.data.cases import ProbeCases
from braindino.probing.data.slices import CaseSlices
from braindino.probing.evaluation import measure_cases
from braindino.probing.heads.closed_form import ClosedForm, parameters_free
from braindino.probing.module import FrozenProbeModule
from braindino.probing.protocol import MAX_EPOCHS, PATIENCE, Protocol
from braindino.probing.resume import Unfinished
from braindino.probing.selection import BestEpoch
from braindino.progress import track

MakeTrainer = Callable[..., Trainer]
EVALUATION_BATCH = 64  # cases
WEIGHTS = "probe.pt"
QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


class CellFacts(TypedDict):
    """cell.json."""

    seed: int
    fraction: float
    fold: NotRequired[int | None]
    train_cases: int
    train_people: int


class Cell:
    """A folder `seed0_fraction1.0`: `predictions.csv`, `epochs.csv`, `probe.pt` and, last, `cell.json`.

    In cross-validation `seed0_fraction1.0_fold2`, where fold 2 is the test part.
    `probe.pt` is what `kept_probe` gives, saved by torch and readable with weights_only=True.
    """

    def __init__(self, root: Path, seed: int, fraction: float, fold: int | None = None) -> None:
        self.seed, self.fraction, self.fold = seed, float(fraction), fold
        self.folder = root / f"seed{seed}_fraction{self.fraction}{'' if fold is None else f'_fold{fold}'}"

    @classmethod
    def finished(cls, root: Path, folds: int | None = None) -> list["Cell"]:
        """The cells below `root` that are done, by fraction, seed and fold.

        folds: only those of a seed and fraction of which so many folds are done.
        """
        cells = [cls._of(file) for file in sorted(root.glob("seed*/cell.json"))]
        done = Counter((cell.fraction, cell.seed) for cell in cells)
        whole = [cell for cell in cells if done[cell.fraction, cell.seed] == (folds or 1)]
        return sorted(whole, key=lambda cell: (cell.fraction, cell.seed, cell.fold or 0))

    @classmethod
    def _of(cls, file: Path) -> "Cell":
        """The cell whose `cell.json` this is."""
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
        """What tells it from other cells: seed, fraction, and fold if there are folds."""
        fold = {} if self.fold is None else {"fold": self.fold}
        return {"seed": self.seed, "fraction": self.fraction, **fold}

    @property
    def told(self) -> str:
        """`names` for people to read."""
        return ", ".join(f"{name} {value}" for name, value in self.names.items())

    def within(self, cases: ProbeCases) -> ProbeCases:
        """The cases as this cell splits them."""
        return cases if self.fold is None else cases.of_fold(self.fold)

    @property
    def done(self) -> bool:
        """Whether it was run to its end."""
        return (self.folder / "cell.json").is_file()

    def read(self) -> tuple[pd.DataFrame, dict[str, Any]]:
        """Predictions and training facts of a cell that is done."""
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
        """Each file atomically; `cell.json`, which says that the cell is done, after all others."""
        parts = {"predictions.csv": format_predictions(predictions)}
        if epochs is not None:
            parts["epochs.csv"] = csv_text(epochs)
        for name, text in parts.items():
            with atomic_write(self.folder / name) as file:
                file.write(text)
        if probe is not None:
            buffer = io.BytesIO()
            torch.save(probe, buffer)
            with atomic_write(self.folder / WEIGHTS, "wb") as file:
                file.write(buffer.getbuffer())
        write_json(self.folder / "cell.json", {**self.names, **facts})


def train_cell(
    cell: Cell,
    template: FrozenProbeModule,
    cases: ProbeCases,
    data: CaseData,
    protocol: Protocol,
    make_trainer: MakeTrainer,
    keep: bool = True,
) -> None:
    """Train a fresh copy of `template`, take the best epoch on validation (`selection`), predict all.

    keep: whether the trained probe is kept with the cell.
    """
    if isinstance(template.head, ClosedForm):
        solve_cell(cell, template, cases, data, protocol, keep)
        return
    module, cases = copy.deepcopy(template), cell.within(cases)
    train = cases.labelled(cell.fraction, cell.seed)
    labelled = _numbers(train)
    judge = "test" if protocol.selection == "test" else "val"
    best = BestEpoch(
        "loss" if protocol.select_by == "loss" else module.head.metric,
        "min" if protocol.select_by == "loss" else module.head.mode,
        protocol.patience or PATIENCE,
    )
    in_loop = data.encoder is not None
    steps = module.step_size(len(labelled))
    threads = torch.get_num_threads() if in_loop or module.pooling.trains_on_slices else 1
    with torch.random.fork_rng(devices=[]), _quietly(), _threads(threads):
        torch.manual_seed(cell.seed)
        with _precision(data, protocol), _in_this_cell(cell):
            module.build(data, labelled, cases.classes)
        precision = {"precision": "bf16-mixed"} if in_loop and protocol.precision == "bfloat16" else {}
        batches = data.loader(labelled, steps, shuffle=cell.seed)
        unfinished = Unfinished(cell.folder, batches)
        callbacks = [best, unfinished]
        trainer = make_trainer(
            max_epochs=protocol.max_epochs or MAX_EPOCHS, callbacks=callbacks, **precision, **QUIET
        )
        trainer.fit(
            module,
            batches,
            data.loader(_numbers(cases.part(judge)), steps if in_loop else EVALUATION_BATCH),
            ckpt_path=unfinished.start(),
            weights_only=True,
        )
    if best.weights is None:
        unfinished.remove()
        raise CellError(
            f"{cell.told}: no epoch had a finite validation loss.\nLower model.lr (now {module.recipe.lr})."
        )
    module.cpu().load_state_dict(best.weights)
    with _precision(data, protocol):
        tables = [predict(module, data, part, cell) for part in shown_parts(cases, train, module.head.task)]
    facts = {
        "train_cases": len(train),
        "train_people": int(train["group"].nunique()),
        "epoch": best.epoch,
        "epochs": len(best.history),
        "selected_by": best.selected_by,
    }
    if keep and isinstance(data, CaseSlices):
        with _precision(data, protocol):
            keep_examples(cell.folder, module, data, cases.part("test"), tables[-1])
    probe = kept_probe(module, data, labelled) if keep else None
    cell.write(pd.concat(tables, ignore_index=True), facts, pd.DataFrame(best.history), probe)
    unfinished.remove()


def solve_cell(
    cell: Cell,
    template: FrozenProbeModule,
    cases: ProbeCases,
    data: CaseData,
    protocol: Protocol,
    keep: bool = True,
) -> None:
    """Solve a closed-form head on the labelled cases, its option chosen on validation, predict all."""
    module, cases = copy.deepcopy(template), cell.within(cases)
    head = module.head
    assert isinstance(head, ClosedForm)
    train = cases.labelled(cell.fraction, cell.seed)
    judge = cases.part("test" if protocol.selection == "test" else "val")
    with torch.random.fork_rng(devices=[]), _threads(1):
        torch.manual_seed(cell.seed)
        with _in_this_cell(cell):
            module.build(data, _numbers(train), cases.classes)
        parameters_free(module.pooling)
        module.eval()
        pooled = [_pooled(module, data, part) for part in (train, judge)]
        targets = [cases.target[_numbers(part)] for part in (train, judge)]
        with _in_this_cell(cell):
            chosen = head.solve(pooled[0], targets[0], pooled[1], targets[1])
        tables = [predict(module, data, part, cell) for part in shown_parts(cases, train, head.task)]
    facts = {"train_cases": len(train), "train_people": int(train["group"].nunique()), "chosen": chosen}
    probe = kept_probe(module, data, _numbers(train)) if keep else None
    cell.write(pd.concat(tables, ignore_index=True), facts, probe=probe)


def kept_probe(module: FrozenProbeModule, data: CaseData, labelled: Tensor) -> dict[str, Any]:
    """What `FrozenProbeModule.restore` needs: weights, widths, and the targets the head was built on."""
    return {
        "format": 1,
        "state": {name: value.cpu() for name, value in module.state_dict().items()},
        "in_loop": data.encoder is not None,
        "shape": data.shape,
        "target": data.train_target(labelled),
    }


def _pooled(module: FrozenProbeModule, data: CaseData, cases: pd.DataFrame) -> Tensor:
    with torch.no_grad():
        batches = data.loader(_numbers(cases), EVALUATION_BATCH)
        return torch.cat([module.pooled(batch["features"], batch["mask"]) for batch in batches])


def predict(module: FrozenProbeModule, data: CaseData, cases: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Rows of predictions.csv for some of the cases."""
    module.eval()
    if data.encoder is not None:
        module.to(next(data.encoder.parameters()).device)
    with torch.inference_mode():
        if isinstance(data, CaseSlices):
            output = measure_cases(module, data, _numbers(cases))
        else:
            batches = data.loader(_numbers(cases), EVALUATION_BATCH if data.encoder is None else 1)
            show = getattr(data, "progress", False)
            shown = track(batches, len(cases), "predict", show, unit="case")
            output = torch.cat([module.answer(_to(batch, module.device)).cpu() for batch in shown])
    return prediction_rows(cases, module.head.rows(output, cases), cell)


def shown_parts(cases: ProbeCases, labelled: pd.DataFrame, task: str) -> list[pd.DataFrame]:
    """The cases that predictions.csv holds: validation and test; for survival the labelled ones first.

    Of these come the baseline hazard, the distribution of censoring and the threshold of the risk groups.
    """
    return [*([labelled] if task == "survival" else []), cases.part("val"), cases.part("test")]


def prediction_rows(cases: pd.DataFrame, predicted: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Put truth and prediction beside who they are about: the rows of predictions.csv."""
    cases = cases.loc[cases.index.repeat(len(predicted) // len(cases))]  # a segmentation has many rows each
    known = cases[["case", "group", "split"]].assign(**cell.names)
    traits = cases[[name for name in TRAITS if name in cases]]
    return pd.concat([part.reset_index(drop=True) for part in (known, predicted, traits)], axis=1)


def _precision(data: CaseData, protocol: Protocol) -> AbstractContextManager[Any]:
    """Where the encoder is in the loop: autocast, outside of the trainer, as the trainer does it."""
    if data.encoder is None or protocol.precision == "float32":
        return nullcontext()
    return torch.autocast(next(data.encoder.parameters()).device.type, torch.bfloat16)


def _to(batch: Batch, device: torch.device) -> Batch:
    return {name: value.to(device) for name, value in batch.items()}


def _numbers(cases: pd.DataFrame) -> Tensor:
    return torch.tensor(cases.index.to_numpy(dtype=np.int64))


def device_of(make_trainer: MakeTrainer) -> torch.device:
    """The device on which the trainers work."""
    with _quietly():
        return make_trainer(**QUIET).strategy.root_device


@contextmanager
def _in_this_cell(cell: Cell) -> Iterator[None]:
    """Turn what is wrong with the labelled cases of one cell into an error of this cell alone."""
    try:
        yield
    except BraindinoError as error:
        raise CellError(f"{cell.told}: {error}") from error


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Steps on pooled features take a millisecond: a second thread costs more than it gives."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quietly() -> Iterator[None]:
    """Lightning introduces every trainer with five lines; a study makes dozens."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
