"""The head of a segmentation: one logit per region and pixel, Dice with cross entropy, the Dice of cases."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from braindino.analysis.metrics.segmentation import LESIONS, MEASURED, REGION
from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.probing.decoder import initialise
from braindino.probing.heads.base import Head, Recipe


@stable_id("SegmentationHead")
class SegmentationHead(Head):
    """Regions of a mask, exclusive (softmax, Dice + cross entropy) or overlapping (sigmoid, Dice + BCE).

    Which of the two follows from the data's regions: they overlap if a label is part of several (BraTS: WT,
    TC, ET). The Dice loss is taken over the batch and without the background, because most slices hold no
    foreground. Trained with AdamW (0.9, 0.98), lr 3e-4, weight decay 0.05, linear decay (BrainDINO's released
    code; method.md "Probes").

    Args:
        slices_per_case: slices that an epoch draws of each labelled case.
        foreground: part of them that is drawn from the slices that hold a region, each region of the case
            alike; the others are drawn from all slices between the first and last that are not empty.
    """

    task = "segmentation"
    metric, mode = "dice", "max"
    batch_size = 16
    dense = True
    recipe = Recipe(lr=3e-4, weight_decay=0.05, betas=(0.9, 0.98), decay=True)
    membership: Tensor

    def __init__(self, slices_per_case: int = 16, foreground: float = 0.33) -> None:
        super().__init__()
        if slices_per_case < 1:
            raise BraindinoError(f"slices_per_case {slices_per_case}: expected 1 or more.")
        if not 0 <= foreground <= 1:
            raise BraindinoError(f"foreground {foreground}: expected 0 to 1.")
        self.slices_per_case, self.foreground = slices_per_case, foreground
        self.regions: tuple[str, ...] = ()

    def encode(self, cases: pd.DataFrame, classes: Sequence[str]) -> Tensor:
        """(N,) the number of each case: the target itself is its mask."""
        return torch.arange(len(cases))

    def build(self, width: int, train_target: Tensor, classes: Sequence[str]) -> None:
        """Make the last 1 x 1 convolution anew.

        Args:
            width: channels of the decoder's maps.
            train_target: (256, R) bool, which label is part of which region.
            classes: R names of the regions.
        """
        from monai.losses import DiceLoss

        self.regions = tuple(classes)
        self.register_buffer("membership", train_target)
        self.exclusive = not bool((train_target.sum(dim=1) > 1).any())
        self.layers = nn.Conv2d(width, len(classes) + self.exclusive, 1)
        initialise(self.layers)
        how = {"softmax": True, "include_background": False} if self.exclusive else {"sigmoid": True}
        self.dice = DiceLoss(batch=True, **how)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Logits (B, C, H, W) against labels (B, H, W) uint8: Dice loss plus (binary) cross entropy."""
        logits, truth = output.float(), self.members(target)
        if self.exclusive:
            background = ~truth.any(dim=1, keepdim=True)
            onehot = torch.cat([background, truth], dim=1)
            entropy = functional.cross_entropy(logits, onehot.to(torch.uint8).argmax(dim=1))
            return self.dice(logits, onehot.float()) + entropy
        truth = truth.float()
        return self.dice(logits, truth) + functional.binary_cross_entropy_with_logits(logits, truth)

    def members(self, labels: Tensor) -> Tensor:
        """Labels (B, H, W) -> (B, R, H, W) bool, whether a pixel is part of a region."""
        return self.membership[labels.long()].permute(0, 3, 1, 2)

    def decide(self, output: Tensor) -> Tensor:
        """Logits (B, C, H, W) -> (B, R, H, W) bool: the most probable class, or what is above a half."""
        if not self.exclusive:
            return output > 0
        chosen = output.argmax(dim=1)
        return torch.stack([chosen == index + 1 for index in range(len(self.regions))], dim=1)

    def evidence(self, output: Tensor, target: Tensor, case: Tensor) -> dict[str, Tensor]:
        """Of each slice: pixels (B, R, 3) in both, in the prediction, in the truth; its case; the loss."""
        truth, guess = self.members(target), self.decide(output)
        counts = [part.flatten(2).sum(dim=2) for part in (truth & guess, guess, truth)]
        loss = self.loss(output, target).expand(len(output))
        return {"output": torch.stack(counts, dim=2), "target": case, "loss": loss}

    def scores(self, evidence: dict[str, Tensor]) -> dict[str, float]:
        """See `Head.scores`; the loss is the mean over slices."""
        counts, case, loss = (evidence[name].cpu() for name in ("output", "target", "loss"))
        return {"loss": float(loss.double().mean()), **self.metrics(counts, case)}

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """`dice` and `dice_<region>` on the prepared grid: means over the cases that have the region.

        Args:
            output: (N, R, 3) pixels of slices, see `evidence`.
            target: (N,) the case of each slice.

        Returns:
            NaN for a region that no case has; `dice` is the mean over the regions that some case has.
        """
        cases, where = target.unique(return_inverse=True)
        counts = torch.zeros(len(cases), *output.shape[1:], dtype=torch.float64)
        both, guess, truth = counts.index_add_(0, where, output.double()).unbind(dim=2)
        dice = torch.where(truth > 0, 2 * both / (guess + truth).clamp(min=1), torch.nan).nanmean(dim=0)
        each = {f"dice_{name}": float(value) for name, value in zip(self.regions, dice, strict=True)}
        return {"dice": float(dice.nanmean()), **each}

    def rows(self, output: Tensor, cases: pd.DataFrame) -> pd.DataFrame:
        """A row per case and region from measures (N, R, 7): see `analysis.masks.row_of`."""
        columns = [*MEASURED, *LESIONS]
        table = pd.DataFrame(output.reshape(-1, len(columns)).numpy(), columns=columns)
        table.insert(0, REGION, np.tile(np.array(self.regions, dtype=object), len(cases)))
        return table
