"""Test hard slices: the weights of empty slices, their updates by training steps, and their state."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from braindino.probing.data.hard_slices import BESIDE, CONSTANT, HardSlices

TRAINER: Any = Trainer
MODULE: Any = LightningModule


def made() -> HardSlices:
    """Case 7: slices 1 to 5 are not empty, 3 has a region; case 9: every slice has one."""
    occupied = {7: np.arange(8) == 3, 9: np.ones(4, dtype=bool)}
    return HardSlices({7: np.arange(1, 6), 9: np.arange(4)}, occupied, area=10_000)


def feed(hard: HardSlices, cases: list[int], slices: list[int], false_pixels: list[int]) -> None:
    batch = {"case": torch.tensor(cases), "slice": torch.tensor(slices)}
    module: Any = SimpleNamespace(false_pixels=torch.tensor(false_pixels))
    hard.on_train_batch_end(TRAINER, module, None, batch, 0)


def test_hard_slices_are_those_without_a_region() -> None:
    hard = made()
    assert hard.slices[7].tolist() == [1, 2, 4, 5]
    assert hard.slices[9].tolist() == []


def test_hard_slices_weights_halve_beside_a_region_before_any_step() -> None:
    expected = np.array([1, BESIDE, BESIDE, 1])
    np.testing.assert_allclose(made().weights(7), expected / expected.sum())


def test_hard_slices_weights_follow_the_last_step_from_the_next_epoch_on() -> None:
    hard = made()
    feed(hard, [7, 7], [1, 2], [50, 9])
    feed(hard, [7, 9], [1, 0], [20, 0])
    before = hard.weights(7)
    hard.on_train_epoch_end(TRAINER, MODULE)
    unit = CONSTANT * 10_000
    expected = np.array([20 + unit, 9 + unit * BESIDE, unit * BESIDE, unit])
    np.testing.assert_allclose(hard.weights(7), expected / expected.sum())
    assert before[0] == pytest.approx(1 / 3)
    feed(hard, [7], [1], [0])
    hard.on_train_epoch_end(TRAINER, MODULE)
    assert hard.weights(7)[0] == pytest.approx(unit / (9 + 2 * unit + 2 * unit * BESIDE))


def test_hard_slices_state_is_restored(tmp_path: Any) -> None:
    hard, again = made(), made()
    feed(hard, [7], [5], [400])
    hard.on_train_epoch_end(TRAINER, MODULE)
    torch.save(hard.state_dict(), tmp_path / "state.pt")
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    np.testing.assert_array_equal(again.weights(7), hard.weights(7))
    draws = [hard.draw(7, np.random.default_rng(seed)) for seed in range(20)]
    assert draws.count(5) > 18
