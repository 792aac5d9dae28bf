"""Schedules at their corners."""

import math

import pytest

from braindino.pretraining.schedules import Schedule, batch_scale


def test_warm_up_then_constant() -> None:
    schedule = Schedule(2e-4, 0.0, 10)
    assert [schedule.at(s, math.inf) for s in (0, 5, 10, 10**9)] == [0.0, 1e-4, 2e-4, 2e-4]


def test_warm_up_from_another_value() -> None:
    assert Schedule(0.07, 0.04, 30).at(10, math.inf) == pytest.approx(0.05)


def test_a_cosine_passes_the_middle_and_ends_at_the_last_step() -> None:
    schedule = Schedule(1.0, 0.0, 20, final=0.2)
    assert schedule.at(20, 121) == 1.0
    assert schedule.at(70, 121) == pytest.approx(0.6)
    assert schedule.at(120, 121) == pytest.approx(0.2)
    assert schedule.at(500, 121) == pytest.approx(0.2)


def test_the_rate_grows_with_the_root_of_the_batch() -> None:
    assert batch_scale(256) == 0.5
    assert batch_scale(64, reference=64) == 1.0
