"""Losses of masks: one term for the overlap of regions, one for the class of each pixel."""

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from braindino.errors import BraindinoError

Criterion = Literal["dice_ce", "dice_focal", "dice_topk", "tversky_ce"]
# Exponent of the focal loss (Lin et al. 2017), share of the hardest pixels (nnU-Net's `TopKLoss`), weights
# of false positives and false negatives (Salehi et al. 2017, table 1).
FOCAL_GAMMA, TOPK_SHARE = 2.0, 0.1
FALSE_POSITIVES, FALSE_NEGATIVES = 0.3, 0.7


def check_criterion(criterion: str) -> None:
    """Raise BraindinoError for a loss that does not exist."""
    if criterion not in get_args(Criterion):
        raise BraindinoError(
            f"model.head.init_args.criterion {criterion!r}: expected {', '.join(get_args(Criterion))}."
        )


class MaskLoss(nn.Module):
    """Add a loss of the regions' overlap, over the batch, and a loss of each pixel.

    The overlap excludes the background. In a batch without any pixel of a region its gradient is finite and
    nearly 0, because of MONAI's smoothing by 1e-5: such a batch teaches by the loss of pixels.

    Args:
        criterion: `dice_ce`: Dice and (binary) cross entropy; `dice_focal`: Dice and focal loss, which weighs
            pixels less that are already certain; `dice_topk`: Dice and the cross entropy of the hardest
            tenth of the pixels; `tversky_ce`: Tversky loss, where a missed pixel costs more than a false one
            (0.7 and 0.3), and cross entropy.
        exclusive: whether the regions exclude each other (softmax, with a channel of the background) or may
            overlap (sigmoid).
    """

    def __init__(self, criterion: Criterion, exclusive: bool) -> None:
        from monai.losses import DiceLoss, FocalLoss, TverskyLoss

        super().__init__()
        check_criterion(criterion)
        self.criterion, self.exclusive = criterion, exclusive
        self.overlap: nn.Module
        if criterion == "tversky_ce":
            weights = {"alpha": FALSE_POSITIVES, "beta": FALSE_NEGATIVES}
            self.overlap = TverskyLoss(
                batch=True,
                softmax=exclusive,
                sigmoid=not exclusive,
                include_background=not exclusive,
                **weights,
            )
        else:
            self.overlap = DiceLoss(
                batch=True, softmax=exclusive, sigmoid=not exclusive, include_background=not exclusive
            )
        self.focal = FocalLoss(gamma=FOCAL_GAMMA, use_softmax=exclusive, reduction="none")

    def forward(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the scalar loss.

        Args:
            logits: (B, R, H, W), or (B, 1 + R, H, W) with the background first, of exclusive regions.
            truth: (B, R, H, W) bool.
        """
        if self.exclusive:
            background = ~truth.any(dim=1, keepdim=True)
            truth = torch.cat([background, truth], dim=1)
        overlap: Tensor = self.overlap(logits, truth.float())
        return overlap + self._of_pixels(logits, truth)

    def _of_pixels(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the loss of single pixels; arguments as in `forward`, truth with the background."""
        if self.criterion == "dice_focal":
            losses: Tensor = self.focal(logits, truth.float())
            return losses.sum(dim=1).mean() if self.exclusive else losses.mean()
        hardest = self.criterion == "dice_topk"
        reduction = "none" if hardest else "mean"
        if self.exclusive:
            # On a CPU `argmax` takes ten times as long as `max`.
            classes = truth.to(torch.uint8).max(dim=1).indices
            entropy = functional.cross_entropy(logits, classes, reduction=reduction)
        else:
            entropy = functional.binary_cross_entropy_with_logits(logits, truth.float(), reduction=reduction)
        if hardest:
            values = entropy.flatten()
            return values.topk(max(int(TOPK_SHARE * len(values)), 1)).values.mean()
        return entropy
