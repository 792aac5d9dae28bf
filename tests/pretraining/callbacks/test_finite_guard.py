"""FiniteGuard: flagged steps, reset of the count by a good step, and the message at the end."""

import logging
import math

import pytest
import torch

from braindino.errors import BraindinoError
from braindino.pretraining.callbacks.finite_guard import FiniteGuard


def test_finite_guard_flags_only_steps_that_are_not_finite(caplog: pytest.LogCaptureFixture) -> None:
    guard = FiniteGuard()
    with caplog.at_level(logging.WARNING):
        flags = [
            guard.observe(i, {"loss": torch.tensor(v)}).item()
            for i, v in enumerate([1.0, math.nan, 2.0, math.inf])
        ]
    assert flags == [0, 1, 0, 1]
    assert guard.skipped == 2
    assert "step 1 is skipped" in caplog.text
    assert "loss nan" in caplog.text


def test_finite_guard_raises_after_three_in_a_row_only() -> None:
    guard = FiniteGuard()
    for step, value in enumerate([math.nan, math.nan, 1.0, math.nan, math.nan]):
        guard.observe(step, {"loss": torch.tensor(1.0), "gradient norm": torch.tensor(value)})
    with pytest.raises(BraindinoError, match=r"step 5: 3 steps .* \(loss 1, gradient norm nan\)"):
        guard.observe(5, {"loss": torch.tensor(1.0), "gradient norm": torch.tensor(math.nan)})
