"""Dice of 3-D masks, averaged over cases and synchronised across processes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class RegionDice(Metric):
    """Mean Dice of each region over the cases that have it, and the mean over regions.

    A case without a region in its truth has no Dice for that region and does not count. A region that no case
    has is NaN, and is not part of the mean over regions; if no case has any region, that mean is NaN as well.

    Args:
        regions: their names.
        options: passed to `torchmetrics.Metric`.

    Attributes:
        total: sum of Dice over the cases that have the region (R,).
        cases: number of those cases (R,).
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False

    total: Tensor
    cases: Tensor

    def __init__(self, regions: Sequence[str], **options: Any) -> None:
        super().__init__(**options)
        self.regions = tuple(regions)
        self.add_state("total", torch.zeros(len(self.regions)), dist_reduce_fx="sum")
        self.add_state("cases", torch.zeros(len(self.regions)), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, truth: Tensor) -> None:
        """Add cases.

        Args:
            predicted: masks (B, R, D, H, W) bool.
            truth: masks (B, R, D, H, W) bool.
        """
        dice = grid_dice(predicted, truth)
        self.total += dice.nansum(dim=0)
        self.cases += dice.isfinite().sum(dim=0)

    def compute(self) -> dict[str, Tensor]:
        """Return `dice`, the mean over regions, and `dice_<region>` of each region."""
        means = self.total / self.cases  # 0 / 0 is NaN
        by_region = {f"dice_{name}": mean for name, mean in zip(self.regions, means, strict=True)}
        return {"dice": means.nanmean(), **by_region}


def grid_dice(predicted: Tensor, truth: Tensor) -> Tensor:
    """Return the Dice of each case and region (B, R); NaN where the truth is empty.

    Args:
        predicted: masks (B, R, D, H, W) bool.
        truth: masks (B, R, D, H, W) bool.
    """
    both = (predicted & truth).flatten(2).sum(dim=-1)
    predicted_size, true_size = (mask.flatten(2).sum(dim=-1) for mask in (predicted, truth))
    dice = 2 * both / (predicted_size + true_size).clamp(min=1)
    return torch.where(true_size > 0, dice, torch.nan)
