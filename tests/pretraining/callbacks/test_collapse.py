"""Monitors: the numbers mean what they say, and a run that learns nothing is announced once."""

import logging
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from braindino.pretraining.callbacks.collapse import CollapseMonitor, feature_statistics, rankme


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_rankme_of_features_with_equal_singular_values_is_their_number(rank: int) -> None:
    left = torch.linalg.qr(torch.randn(40, rank)).Q
    right = torch.linalg.qr(torch.randn(12, rank)).Q
    assert rankme(left @ right.T).item() == pytest.approx(rank, rel=1e-3)


def test_rankme_of_features_that_are_not_finite_is_nan() -> None:
    assert rankme(torch.full((4, 3), torch.nan)).isnan()


def test_statistics_of_isotropic_and_of_collapsed_features() -> None:
    features, targets = torch.randn(4000, 16), torch.full((4000, 10), 0.1)
    good = feature_statistics(features, targets)
    assert good["feature_std"].item() == pytest.approx(1, abs=0.02)
    assert good["rankme"].item() == pytest.approx(16, abs=0.1)
    assert good["teacher_entropy"].item() == pytest.approx(math.log(10), rel=1e-4)
    one_hot = torch.eye(10).repeat(400, 1)
    collapsed = feature_statistics(features[:1].expand(4000, -1), one_hot)
    assert collapsed["feature_std"].item() == pytest.approx(0, abs=1e-5)
    assert collapsed["teacher_entropy"].item() == 0


def judge(ratio: float, rank: float, step: int, monitor: CollapseMonitor) -> None:
    metrics = {"train/dino_over_lnk": torch.tensor(ratio), "train/rankme": torch.tensor(rank)}
    module = SimpleNamespace(monitor_every=50)
    trainer: Any = SimpleNamespace(global_step=step, callback_metrics=metrics, lightning_module=module)
    monitor.on_train_batch_end(trainer)


def test_a_stuck_and_a_collapsed_run_are_announced_once_and_not_too_early(
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
