"""CollapseMonitor: it warns once of a run that does not learn, and not too early."""

import logging
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from braindino.pretraining.callbacks.collapse import CollapseMonitor


def judge(ratio: float, rank: float, step: int, monitor: CollapseMonitor) -> None:
    metrics = {"train/dino_over_lnk": torch.tensor(ratio), "train/rankme": torch.tensor(rank)}
    module = SimpleNamespace(monitor_every=50)
    trainer: Any = SimpleNamespace(global_step=step, callback_metrics=metrics, lightning_module=module)
    monitor.on_train_batch_end(trainer)


def test_collapse_monitor_warns_once_and_not_too_early(
    caplog: pytest.LogCaptureFixture,
) -> None:
    monitor = CollapseMonitor(patience=1000)
    with caplog.at_level(logging.WARNING):
        judge(1.0, 1.0, 950, monitor)
        judge(0.8, 30.0, 1000, monitor)
        judge(0.2, 30.0, 1050, monitor)
        assert not caplog.records
        judge(0.99, 30.0, 1100, monitor)
        judge(0.99, 1.3, 1150, monitor)
        judge(0.99, 1.3, 1200, monitor)
    assert [("ln K" in r.message, "collapsed" in r.message) for r in caplog.records] == [
        (True, False),
        (False, True),
    ]
