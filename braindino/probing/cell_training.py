"""Train the probe of a cell, predict with its best epoch, and return the rows of its predictions."""

import copy
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from braindino.analysis.predictions import TRAITS
from braindino.errors import CellError
from braindino.probing.artifacts.examples import write_examples
from braindino.probing.callbacks import AveragedWeights, BestEpoch, CellCheckpoint, EpochProgress, MakeTrainer
from braindino.probing.cell import Cell, errors_of
from braindino.probing.data.base import Batch, CaseData
from braindino.probing.data.cases import ProbeCases
from braindino.probing.data.slices import CaseSlices
from braindino.probing.evaluation import measure_cases
from braindino.probing.heads.closed_form import ClosedForm, check_no_parameters
from braindino.probing.module import FrozenProbeModule
from braindino.probing.protocol import MAX_EPOCHS, PATIENCE, Protocol
from braindino.progress import track

EVALUATION_BATCH = 64  # cases
QUIET: dict[str, Any] = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


def train_cell(
    cell: Cell,
    template: FrozenProbeModule,
    cases: ProbeCases,
    data: CaseData,
    protocol: Protocol,
    make_trainer: MakeTrainer,
    save_probe: bool = True,
    progress: bool = False,
) -> None:
    """Train a copy of a probe, predict with its best epoch, and save the cell.

    Args:
        cell: the cell.
        template: the probe, which is not changed.
        cases: all cases of the study.
        data: the data of these cases.
        protocol: rules of training.
        make_trainer: see `run_study`.
        save_probe: save the trained probe with the cell.
        progress: show the epochs on stderr.

    Raises:
        CellError: the labelled cases cannot be used, or no epoch had a finite validation loss.
    """
    if isinstance(template.head, ClosedForm):
        solve_cell(cell, template, cases, data, protocol, save_probe)
        return
    module, cases = copy.deepcopy(template), cell.within(cases)
    train = cases.labelled(cell.fraction, cell.seed)
    labelled = _numbers(train)
    best = _fit(cell, module, cases, data, labelled, protocol, make_trainer, progress)
    assert best.weights is not None
    module.cpu().load_state_dict(best.weights)
    with _precision(data, protocol):
        tables = [
            predict_part(module, data, part, cell) for part in reported_parts(cases, train, module.head.task)
        ]
    facts = {
        "train_cases": len(train),
        "train_people": int(train["group"].nunique()),
        "epoch": best.epoch,
        "epochs": len(best.history),
        "selected_by": best.selected_by,
    }
    if save_probe and isinstance(data, CaseSlices):
        with _precision(data, protocol):
            write_examples(cell.folder, module, data, cases.part("test"), tables[-1])
    probe = probe_state(module, data, labelled) if save_probe else None
    cell.write(pd.concat(tables, ignore_index=True), facts, pd.DataFrame(best.history), probe)
    CellCheckpoint.remove_from(cell.folder)


def _fit(
    cell: Cell,
    module: FrozenProbeModule,
    cases: ProbeCases,
    data: CaseData,
    labelled: Tensor,
    protocol: Protocol,
    make_trainer: MakeTrainer,
    progress: bool,
) -> BestEpoch:
    """Train `module` on the cases numbered `labelled`; return the best epoch."""
    selecting = "test" if protocol.selection == "test" else "val"
    by_loss = protocol.select_by == "loss"
    best = BestEpoch(
        "loss" if by_loss else module.head.metric,
        "min" if by_loss else module.head.mode,
        protocol.patience or PATIENCE,
    )
    in_loop = data.encoder is not None
    steps = module.step_size(len(labelled))
    threads = torch.get_num_threads() if in_loop or module.pooling.trains_on_slices else 1
    with torch.random.fork_rng(devices=[]), _quietly(), _threads(threads):
        torch.manual_seed(cell.seed)
        with _precision(data, protocol), errors_of(cell):
            module.build(data, labelled, cases.classes)
        batches = data.loader(labelled, steps, shuffle=cell.seed)
        checkpoint = CellCheckpoint(cell.folder, batches)
        options: dict[str, Any] = {**QUIET, "max_epochs": protocol.max_epochs or MAX_EPOCHS}
        if in_loop and protocol.precision == "bfloat16":
            options["precision"] = "bf16-mixed"
        # Before the checkpoint, which saves what the others have set at the end of an epoch.
        first: list[Callback] = [best]
        if module.ema:
            first.append(AveragedWeights(module.ema))
        hard_slices = getattr(getattr(batches, "batch_sampler", None), "hard_slices", None)
        if hard_slices is not None:
            first.append(hard_slices)
        shown = [EpochProgress(cell.label)] if progress else []
        trainer = make_trainer(callbacks=[*first, checkpoint, *shown], **options)
        trainer.fit(
            module,
            batches,
            data.loader(_numbers(cases.part(selecting)), steps if in_loop else EVALUATION_BATCH),
            ckpt_path=checkpoint.start(),
            weights_only=True,
        )
    if best.weights is None:
        checkpoint.remove()
        raise CellError(
            f"{cell.label}: no epoch had a finite validation loss.\n"
            f"Lower model.lr (now {module.optimizer_settings.lr})."
        )
    return best


def solve_cell(
    cell: Cell,
    template: FrozenProbeModule,
    cases: ProbeCases,
    data: CaseData,
    protocol: Protocol,
    save_probe: bool = True,
) -> None:
    """Fit a closed-form head to the labelled cases, predict, and save the cell.

    Args:
        cell: the cell.
        template: the probe, which is not changed; its head is a `ClosedForm`.
        cases: all cases of the study.
        data: the data of these cases.
        protocol: names the part that selects the option of the head.
        save_probe: save the solved probe with the cell.

    Raises:
        CellError: the labelled cases cannot be used.
    """
    module, cases = copy.deepcopy(template), cell.within(cases)
    head = module.head
    assert isinstance(head, ClosedForm)
    train = cases.labelled(cell.fraction, cell.seed)
    selecting = cases.part("test" if protocol.selection == "test" else "val")
    with torch.random.fork_rng(devices=[]), _threads(1):
        torch.manual_seed(cell.seed)
        with errors_of(cell):
            module.build(data, _numbers(train), cases.classes)
        check_no_parameters(module.pooling)
        module.eval()
        pooled = [_pooled(module, data, part) for part in (train, selecting)]
        targets = [cases.target[_numbers(part)] for part in (train, selecting)]
        with errors_of(cell):
            chosen = head.solve(pooled[0], targets[0], pooled[1], targets[1])
        tables = [predict_part(module, data, part, cell) for part in reported_parts(cases, train, head.task)]
    facts = {"train_cases": len(train), "train_people": int(train["group"].nunique()), "chosen": chosen}
    probe = probe_state(module, data, _numbers(train)) if save_probe else None
    cell.write(pd.concat(tables, ignore_index=True), facts, probe=probe)


def probe_state(module: FrozenProbeModule, data: CaseData, labelled: Tensor) -> dict[str, Any]:
    """Return what `FrozenProbeModule.restore` needs: weights, widths and training targets.

    Args:
        module: the trained probe.
        data: the data it was trained on.
        labelled: numbers of the labelled training cases.
    """
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


def predict_part(module: FrozenProbeModule, data: CaseData, cases: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Return the rows of predictions.csv for some of the cases.

    Args:
        module: the trained probe.
        data: the data of all cases.
        cases: the cases to predict, numbered by their index.
        cell: the cell, for its columns.
    """
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
            output = torch.cat([module.forward_batch(_to(batch, module.device)).cpu() for batch in shown])
    return prediction_rows(cases, module.head.rows(output, cases), cell)


def reported_parts(cases: ProbeCases, labelled: pd.DataFrame, task: str) -> list[pd.DataFrame]:
    """Return the parts of the split in predictions.csv: validation and test.

    For survival the labelled training cases come first; the baseline hazard, the distribution of censoring
    and the threshold of the risk groups are computed from them.

    Args:
        cases: all cases, with the split of the cell.
        labelled: the labelled training cases.
        task: task of the head.
    """
    return [*([labelled] if task == "survival" else []), cases.part("val"), cases.part("test")]


def prediction_rows(cases: pd.DataFrame, predicted: pd.DataFrame, cell: Cell) -> pd.DataFrame:
    """Return the rows of predictions.csv: case, person, cell, truth, prediction and traits.

    Args:
        cases: the cases.
        predicted: truth and prediction of each; a segmentation has several rows per case.
        cell: the cell.
    """
    cases = cases.loc[cases.index.repeat(len(predicted) // len(cases))]
    known = cases[["case", "group", "split"]].assign(**cell.names)
    traits = cases[[name for name in TRAITS if name in cases]]
    return pd.concat([part.reset_index(drop=True) for part in (known, predicted, traits)], axis=1)


def _precision(data: CaseData, protocol: Protocol) -> AbstractContextManager[Any]:
    """Return the trainer's autocast of an encoder in the loop, for work outside of the trainer."""
    if data.encoder is None or protocol.precision == "float32":
        return nullcontext()
    return torch.autocast(next(data.encoder.parameters()).device.type, torch.bfloat16)


def _to(batch: Batch, device: torch.device) -> Batch:
    return {name: value.to(device) for name, value in batch.items()}


def _numbers(cases: pd.DataFrame) -> Tensor:
    return torch.tensor(cases.index.to_numpy(dtype=np.int64))


def device_of(make_trainer: MakeTrainer) -> torch.device:
    """Return the device of the trainers that `make_trainer` makes."""
    with _quietly():
        return make_trainer(**QUIET).strategy.root_device


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Limit torch to `count` threads: for steps of a millisecond more threads cost time."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence the five lines that Lightning logs for each of the dozens of trainers."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
