"""Test the callbacks of a cell: the best epoch, checkpoints that continue to the bit, and progress."""

import json
import math
from types import SimpleNamespace

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from braindino import progress
from braindino.probing import ClassificationHead, FrozenProbeModule, Protocol, run_study
from braindino.probing.callbacks import CHECKPOINT, AveragedWeights, BestEpoch, CellCheckpoint, EpochProgress
from braindino.probing.cell_training import QUIET


def run(best, epochs):
    """Feed (auroc, loss) per epoch; returns how many epochs were run."""
    module = nn.Linear(1, 1)
    trainer = SimpleNamespace(should_stop=False, callback_metrics={}, current_epoch=0)
    for number, (auroc, loss) in enumerate(epochs):
        nn.init.constant_(module.weight, float(number))
        trainer.current_epoch = number
        trainer.callback_metrics = {"val/auroc": torch.tensor(auroc), "val/loss": torch.tensor(loss)}
        best.on_train_epoch_end(trainer, module)
        if trainer.should_stop:
            return number + 1
    return len(epochs)


@pytest.mark.parametrize(
    ("epochs", "chosen"),
    [
        ([(0.6, 1.0), (0.9, 0.9), (0.8, 0.5)], 1),
        ([(0.9, 1.0), (0.9, 0.8), (0.9, 0.8)], 1),  # ties: the lower loss, then the first
        ([(math.nan, 1.0), (math.nan, 0.5), (math.nan, 0.7)], 1),  # a class absent from validation
        ([(0.9, math.nan), (0.5, 2.0), (0.4, 1.0)], 1),
    ],
)
def test_best_epoch_is_selected_by_metric_then_loss(epochs, chosen):
    best = BestEpoch("auroc", "max", patience=10)
    run(best, epochs)
    assert best.epoch == chosen
    assert best.weights["weight"].item() == chosen
    assert best.selected_by == ("val/loss" if math.isnan(epochs[1][0]) else "val/auroc")
    assert len(best.history) == len(epochs)


def test_best_epoch_stops_after_patience():
    best = BestEpoch("auroc", "max", patience=3)
    assert run(best, [(0.5, 1.0), (0.6, 1.0)] + [(0.6, 1.1)] * 10) == 5
    assert best.epoch == 1


def test_best_epoch_minimises_an_error():
    best = BestEpoch("loss", "min", patience=10)
    run(best, [(0.9, 3.0), (0.5, 1.0), (0.7, 2.0)])
    assert best.epoch == 1


def test_best_epoch_without_a_finite_loss_has_no_weights():
    best = BestEpoch("auroc", "max", patience=2)
    assert run(best, [(0.5, math.nan)] * 5) == 2
    assert best.weights is None


FAST = {"seeds": [0], "max_epochs": 6, "patience": 6, "resamples": 0, "baselines": False}


class Stop(pl.Callback):
    """Ctrl-C in the middle of an epoch, or after its validation."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_end(self, trainer, *args):
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


def stopping(make_trainer, epoch):
    def make(callbacks=(), **options):
        return make_trainer(callbacks=[*callbacks, Stop(epoch)] if callbacks else None, **options)

    return make


def files(folder):
    return {p.name: p.read_bytes() for p in sorted((folder / "cells").rglob("*")) if p.is_file()}


@pytest.fixture
def after_every_epoch(monkeypatch):
    monkeypatch.setattr("braindino.probing.callbacks.EVERY", 0.0)
    monkeypatch.setattr("braindino.probing.callbacks.SHARE", 0.0)


@pytest.mark.usefixtures("after_every_epoch")
@pytest.mark.parametrize("cache", [True, False])  # features, or the encoder in the loop with augmentation
def test_cell_checkpoint_continues_to_the_bit(tmp_path, planted, encoder, make_trainer, cache):
    def run(name, trainers):
        module = FrozenProbeModule("tiny", ClassificationHead(), lr=3e-3, batch_size=2)
        run_study(module, planted(), Protocol(cache=cache, **FAST), trainers, tmp_path / name, encoder)

    run("whole", make_trainer)
    cell = tmp_path / "cut" / "cells" / "seed0_fraction1.0"
    for epoch in (0, 2, 4):
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run("cut", stopping(make_trainer, epoch))
        assert (cell / CHECKPOINT).exists() == (epoch > 0)
    epochs = []

    def watched(callbacks=(), **options):
        seen = pl.callbacks.LambdaCallback(on_train_epoch_start=lambda t, m: epochs.append(t.current_epoch))
        return make_trainer(callbacks=[*callbacks, seen], **options)

    run("cut", watched)
    assert epochs == [4, 5]
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.usefixtures("after_every_epoch")
def test_cell_checkpoint_that_is_damaged_is_removed_with_a_notice(tmp_path, caplog):
    for content in (b"half", b""):
        (tmp_path / CHECKPOINT).write_bytes(content)
        assert CellCheckpoint(tmp_path, ()).start() is None
        assert not (tmp_path / CHECKPOINT).exists()
    torch.save({"callbacks": {}}, tmp_path / CHECKPOINT)
    assert CellCheckpoint(tmp_path, ()).start() is None
    assert caplog.text.count("the cell starts from its beginning") == 3


@pytest.mark.usefixtures("after_every_epoch")
def test_cell_checkpoint_restores_the_order_of_batches(tmp_path):
    class Sampler:
        random = np.random.default_rng(3)

    sampler = Sampler()
    state = json.dumps(sampler.random.bit_generator.state)
    expected = sampler.random.random(3)
    unfinished = CellCheckpoint(tmp_path, sampler)
    torch.save({"callbacks": {unfinished.state_key: {"batches": state}}}, unfinished.path)
    assert unfinished.start() == unfinished.path
    assert (sampler.random.random(3) == expected).all()


class Line(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Tensor) -> Tensor:
        return (batch - self.weight).square().mean()

    def validation_step(self, batch: Tensor) -> None:
        self.log("val/loss", self.weight.square())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Recorded(Line):
    """Record the weight after each step, in each validation, and at the start of each epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[float] = []
        self.validated: list[float] = []
        self.started: list[float] = []

    def on_train_epoch_start(self) -> None:
        self.started.append(self.weight.item())

    def on_before_zero_grad(self, optimizer: torch.optim.Optimizer) -> None:
        self.steps.append(self.weight.item())

    def validation_step(self, batch: Tensor) -> None:
        self.validated.append(self.weight.item())
        self.log("val/loss", (1 - self.weight).square())


def test_averaged_weights_are_evaluated_and_saved_but_not_trained() -> None:
    batches: DataLoader[Tensor] = DataLoader(torch.ones(3, 1))  # type: ignore[arg-type]
    best, averaged, module = BestEpoch("loss", "min", 9), AveragedWeights(0.5), Recorded()
    trainer = Trainer(accelerator="cpu", max_epochs=2, callbacks=[best, averaged], **QUIET)
    trainer.fit(module, batches, DataLoader(torch.ones(1, 1)))  # type: ignore[arg-type]
    # Plain descent from 0: each step of 0.1 leaves 0.8 of the distance to 1.
    weights = [1 - 0.8**step for step in range(1, 7)]
    average, expected = 0.0, []
    for step, weight in enumerate(weights, start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        average = decay * average + (1 - decay) * weight
        expected.append(average)
    assert module.validated == pytest.approx([expected[2], expected[5]], rel=1e-5)
    assert module.started == pytest.approx([0.0, weights[2]], rel=1e-5)
    assert module.weight.item() == pytest.approx(weights[5], rel=1e-5)
    assert best.weights is not None
    assert float(best.weights["weight"]) == pytest.approx(expected[5], rel=1e-5)


@pytest.mark.parametrize("show", [True, False])
def test_epoch_progress_shows_epochs_and_metrics(
    show: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "MAX_PAUSE", 0.0)
    callbacks = [EpochProgress("seed 0")] if show else []
    batches: DataLoader[Tensor] = DataLoader(torch.ones(4, 1))  # type: ignore[arg-type]
    trainer = Trainer(accelerator="cpu", max_epochs=2, callbacks=list(callbacks), **QUIET)
    trainer.fit(Line(), batches, batches)
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("seed 0")]
    assert bool(lines) == show
    if show:
        assert lines[0] == "seed 0, epochs at most: 0 of 2 (6 %)"
        assert any("val/loss 0." in line for line in lines)
        assert lines[-1].startswith("seed 0, epochs at most: 2 of 2 (100 %)")
