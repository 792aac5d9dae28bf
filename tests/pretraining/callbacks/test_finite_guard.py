"""Bad steps: which are flagged, that good ones in between reset the count, and the words at the end."""

import logging
import math

import pytest
import torch

from braindino.errors import BraindinoError
from braindino.pretraining.callbacks.finite_guard import FiniteGuard


def test_only_steps_that_are_not_finite_are_flagged(caplog: pytest.LogCaptureFixture) -> None:
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


def test_three_in_a_row_are_fatal_but_not_three_with_a_good_one_between() -> None:
    guard = FiniteGuard()
    for step, value in enumerate([math.nan, math.nan, 1.0, math.nan, math.nan]):
        guard.observe(step, {"loss": torch.tensor(1.0), "gradient norm": torch.tensor(value)})
    with pytest.raises(BraindinoError, match=r"step 5: 3 steps .* \(loss 1, gradient norm nan\)"):
        guard.observe(5, {"loss": torch.tensor(1.0), "gradient norm": torch.tensor(math.nan)})
