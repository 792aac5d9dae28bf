"""RegionDice: means over the cases that have a region, by hand and over two processes."""

import pytest
import torch

from braindino.brainsegfounder.dice import RegionDice, grid_dice
from tests.helpers.processes import run_processes


def masks(*bits: str) -> torch.Tensor:
    """Masks (B, R, 1, 1, W) bool from rows of bits, `|` between regions."""
    rows = [[[int(bit) for bit in region] for region in row.split("|")] for row in bits]
    return torch.tensor(rows, dtype=torch.bool)[:, :, None, None]


# Dice of the first region: 2 * 1 / (2 + 1), absent, 0; of the second: 1, absent, 2 * 2 / (2 + 4); the third
# is never there.
TRUTH = masks("1100|1000|0000", "0000|0000|0000", "0011|1111|0000")
PREDICTED = masks("1000|1000|1111", "1111|0000|0000", "1100|0011|0000")
FIRST, SECOND = (2 / 3 + 0) / 2, (1 + 2 / 3) / 2


def test_grid_dice_is_nan_where_the_truth_is_empty() -> None:
    expected = torch.tensor([[2 / 3, 1, torch.nan], [torch.nan] * 3, [0, 2 / 3, torch.nan]])
    torch.testing.assert_close(grid_dice(PREDICTED, TRUTH), expected, equal_nan=True)


def test_grid_dice_counts_voxels_of_volumes() -> None:
    truth = torch.zeros(1, 3, 2, 2, 2, dtype=torch.bool)
    predicted = truth.clone()
    truth[0, 0, 0], predicted[0, 0, 0, 0] = True, True  # four voxels, two of them predicted
    truth[0, 1] = True  # missed
    torch.testing.assert_close(
        grid_dice(predicted, truth), torch.tensor([[2 * 2 / 6, 0.0, torch.nan]]), equal_nan=True
    )


@pytest.mark.parametrize("batches", [[(0, 3)], [(0, 1), (1, 3)], [(2, 3), (0, 2)]])
def test_region_dice_averages_over_cases_that_have_the_region(batches: list[tuple[int, int]]) -> None:
    metric = RegionDice(["a", "b", "c"])
    for begin, end in batches:
        metric.update(PREDICTED[begin:end], TRUTH[begin:end])
    scores = {name: float(value) for name, value in metric.compute().items()}
    assert scores == pytest.approx(
        {"dice": (FIRST + SECOND) / 2, "dice_a": FIRST, "dice_b": SECOND, "dice_c": float("nan")}, nan_ok=True
    )


def test_region_dice_without_any_region_is_nan() -> None:
    metric = RegionDice(["a", "b"])
    empty = masks("0000|0000")
    metric.update(empty, empty)
    assert all(value.isnan() for value in metric.compute().values())


def test_region_dice_reset_forgets_cases() -> None:
    metric = RegionDice(["a", "b", "c"])
    metric.update(PREDICTED, TRUTH)
    metric.reset()
    metric.update(TRUTH[:1], TRUTH[:1])
    assert float(metric.compute()["dice"]) == 1


def _scores_of_rank(rank: int, world: int) -> dict[str, float]:
    metric = RegionDice(["a", "b", "c"])
    for case in range(rank, len(TRUTH), world):
        metric.update(PREDICTED[[case]], TRUTH[[case]])
    return {name: float(value) for name, value in metric.compute().items()}


def test_region_dice_of_two_processes_is_that_of_one() -> None:
    """Process 0 has two cases, process 1 one case without any region."""
    (alone,) = run_processes(_scores_of_rank, 1)
    for scores in run_processes(_scores_of_rank, 2):
        assert scores == pytest.approx(alone, nan_ok=True)
