"""The epoch is the best on validation, and the results are those of its weights."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from braindino.probing.selection import BestEpoch


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
