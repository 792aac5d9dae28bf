"""Schedules: warm-up, cosine, and their values at the first and last step."""

import math

import numpy as np
import pytest

from braindino.pretraining.schedules import ScalingRule, Schedule, batch_scale


def test_schedule_warms_up_then_stays_constant() -> None:
    schedule = Schedule(2e-4, 0.0, 10)
    assert [schedule.at(s, math.inf) for s in (0, 5, 10, 10**9)] == [0.0, 1e-4, 2e-4, 2e-4]


def test_schedule_warms_up_from_another_value() -> None:
    assert Schedule(0.07, 0.04, 30).at(10, math.inf) == pytest.approx(0.05)


def test_schedule_cosine_passes_the_middle_and_ends_at_the_last_step() -> None:
    schedule = Schedule(1.0, 0.0, 20, final=0.2)
    assert schedule.at(20, 121) == 1.0
    assert schedule.at(70, 121) == pytest.approx(0.6)
    assert schedule.at(120, 121) == pytest.approx(0.2)
    assert schedule.at(500, 121) == pytest.approx(0.2)


def test_schedule_warms_up_by_a_half_cosine_as_stage_2_does() -> None:
    """FlexiCT: start 0, cosine_epochs 10, end 5e-5, which is linspace(0, pi, 10_000), then constant."""
    schedule = Schedule(5e-5, 0.0, 10_000, warmup="cosine")
    published = 5e-5 * (1 - np.cos(np.linspace(0, np.pi, 10_000))) / 2
    steps = [0, 1, 2500, 5000, 9998, 9999]
    assert [schedule.at(s, math.inf) for s in steps] == pytest.approx(list(published[steps]), rel=1e-9)
    assert schedule.at(9999, math.inf) == schedule.at(10_000, math.inf) == 5e-5
    assert Schedule(1.0, 0.0, 1, warmup="cosine").at(0, math.inf) == 0.0


@pytest.mark.parametrize(
    ("rule", "batch", "reference", "factor"),
    [
        ("sqrt_wrt_1024", 1024, None, 4.0),
        ("sqrt_wrt_1024", 64, None, 1.0),
        ("sqrt_wrt_reference", 64, 64, 1.0),
        ("sqrt_wrt_reference", 256, 1024, 0.5),
        ("none", 800, None, 1.0),
    ],
)
def test_batch_scale_follows_the_rule(
    rule: ScalingRule, batch: int, reference: int | None, factor: float
) -> None:
    assert batch_scale(rule, batch, reference) == factor
