"""ThroughputMonitor: slices per second over whole optimiser steps, and the share of time spent waiting."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from braindino.pretraining.callbacks import throughput
from braindino.pretraining.callbacks.throughput import ThroughputMonitor


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that stands still; its time can be set."""
    now = [0.0]
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    yield now
    assert time.perf_counter() > 0  # the real one is not changed


def run(monitor: ThroughputMonitor, clock: list[float], batches: int, accumulate: int) -> dict[str, Any]:
    """Let batches of 8 slices arrive after 1 second and take 3, and return what is logged."""
    logged: dict[str, Any] = {}
    module: Any = SimpleNamespace(log=logged.__setitem__, device=torch.device("cpu"))
    for i in range(batches):
        trainer: Any = SimpleNamespace(accumulate_grad_batches=accumulate, global_step=(i + 1) // accumulate)
        clock[0] += 1
        monitor.on_train_batch_start(trainer, module, None, i)
        clock[0] += 3
        monitor.on_train_batch_end(trainer, module, None, {"slices": torch.zeros(8, 4, 4)}, i)
    return logged


@pytest.mark.parametrize(("accumulate", "batches"), [(1, 2), (2, 4)])
def test_throughput_monitor_logs_slices_per_second_and_waiting(
    clock: list[float], accumulate: int, batches: int
) -> None:
    monitor = ThroughputMonitor(every=2)
    assert run(monitor, clock, batches - 1, accumulate) == {}
    clock[0] = 0.0
    monitor.on_train_start(SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]
    logged = run(monitor, clock, batches, accumulate)
    assert logged == {"train/slices_per_second": 2.0, "train/data_wait": 0.25}


def test_throughput_monitor_starts_again_after_a_measurement(clock: list[float]) -> None:
    monitor = ThroughputMonitor(every=1)
    run(monitor, clock, 1, 1)
    clock[0] += 4  # a pause that counts as waiting
    assert run(monitor, clock, 1, 1) == {"train/slices_per_second": 1.0, "train/data_wait": 0.625}
