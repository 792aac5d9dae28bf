"""Segmentation head: one logit per region and pixel, by Dice loss and cross entropy."""

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
from braindino.probing.heads.base import Head, OptimizerDefaults


@stable_id("SegmentationHead")
class SegmentationHead(Head):
    """Predict the regions of a mask, exclusive (softmax) or overlapping (sigmoid).

    Regions overlap if a label is part of several (BraTS: WT, TC, ET). The loss is Dice plus (binary) cross
    entropy. The Dice loss is computed over the batch and without the background, because most slices have no
    foreground. Trained with AdamW (0.9, 0.98), lr 3e-4, weight decay 0.05, linear decay (BrainDINO's released
    code; method.md "Probes").

    Args:
        slices_per_case: slices that an epoch draws from each labelled case.
        foreground: share of them that is drawn from the slices with a region, each region of the case with
            equal probability; the rest is drawn from all slices between the first and last that are not
            empty.

    Attributes:
        membership: (256, R) bool, whether a label is part of a region; set by `build`.
        regions: names of the R regions; set by `build`.
        exclusive: whether no label is part of two regions; set by `build`.
    """

    task = "segmentation"
    metric, mode = "dice", "max"
    batch_size = 16
    dense = True
    optimizer_defaults = OptimizerDefaults(lr=3e-4, weight_decay=0.05, betas=(0.9, 0.98), decay=True)
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
        """Return the number of each case (N,); the target itself is its mask."""
        return torch.arange(len(cases))

    def build(self, width: int, train_target: Tensor, classes: Sequence[str]) -> None:
        """Initialise the last 1 x 1 convolution.

        Args:
            width: channels of the decoder's maps.
            train_target: (256, R) bool, whether a label is part of a region.
            classes: names of the R regions.
        """
        from monai.losses import DiceLoss

        self.regions = tuple(classes)
        self.register_buffer("membership", train_target)
        self.exclusive = not bool((train_target.sum(dim=1) > 1).any())
        self.layers = nn.Conv2d(width, len(classes) + self.exclusive, 1)
        initialise(self.layers)
        if self.exclusive:
            self.dice = DiceLoss(batch=True, softmax=True, include_background=False)
        else:
            self.dice = DiceLoss(batch=True, sigmoid=True)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return Dice loss plus cross entropy of logits (B, C, H, W) and labels (B, H, W) uint8."""
        logits, truth = output.float(), self.members(target)
        if self.exclusive:
            background = ~truth.any(dim=1, keepdim=True)
            onehot = torch.cat([background, truth], dim=1)
            entropy = functional.cross_entropy(logits, onehot.to(torch.uint8).argmax(dim=1))
            overlap: Tensor = self.dice(logits, onehot.float())
            return overlap + entropy
        truth = truth.float()
        overlap = self.dice(logits, truth)
        return overlap + functional.binary_cross_entropy_with_logits(logits, truth)

    def members(self, labels: Tensor) -> Tensor:
        """Return whether a pixel is part of a region, (B, R, H, W) bool, from labels (B, H, W)."""
        return self.membership[labels.long()].permute(0, 3, 1, 2)

    def decide(self, output: Tensor) -> Tensor:
        """Return the masks (B, R, H, W) bool from logits (B, C, H, W).

        They are the most probable class of exclusive regions, else all probabilities above 0.5.
        """
        if not self.exclusive:
            return output > 0
        chosen = output.argmax(dim=1)
        return torch.stack([chosen == index + 1 for index in range(len(self.regions))], dim=1)

    def evidence(self, output: Tensor, target: Tensor, case: Tensor) -> dict[str, Tensor]:
        """Return pixel counts, case and loss of each slice; see `Head.evidence`.

        Returns:
            `output`: (B, R, 3) pixels in prediction and truth, in the prediction, in the truth; `target`:
            (B,) number of the case; `loss`: (B,).
        """
        truth, guess = self.members(target), self.decide(output)
        counts = [part.flatten(2).sum(dim=2) for part in (truth & guess, guess, truth)]
        loss = self.loss(output, target).expand(len(output))
        return {"output": torch.stack(counts, dim=2), "target": case, "loss": loss}

    def scores(self, evidence: dict[str, Tensor]) -> dict[str, float]:
        """Return the mean loss over slices and the `metrics`; see `Head.scores`."""
        counts, case, loss = (evidence[name].cpu() for name in ("output", "target", "loss"))
        return {"loss": float(loss.double().mean()), **self.metrics(counts, case)}

    def metrics(self, output: Tensor, target: Tensor) -> dict[str, float]:
        """Return `dice` and `dice_<region>` on the prepared grid, averaged over cases.

        Args:
            output: (N, R, 3) pixel counts of slices, see `evidence`.
            target: (N,) number of the case of each slice.

        Returns:
            NaN for a region that no case has; `dice` is the mean over the other regions.
        """
        cases, where = torch.unique(target, return_inverse=True)
        counts = torch.zeros(len(cases), *output.shape[1:], dtype=torch.float64)
        both, guess, truth = counts.index_add_(0, where, output.double()).unbind(dim=2)
        dice = torch.where(truth > 0, 2 * both / (guess + truth).clamp(min=1), torch.nan).nanmean(dim=0)
        each = {f"dice_{name}": float(value) for name, value in zip(self.regions, dice, strict=True)}
        return {"dice": float(dice.nanmean()), **each}

    def rows(self, output: Tensor, cases: pd.DataFrame) -> pd.DataFrame:
        """Return a row per case and region from measures (N, R, 7); see `measure_cases`."""
        columns = [*MEASURED, *LESIONS]
        table = pd.DataFrame(output.reshape(-1, len(columns)).numpy(), columns=columns)
        table.insert(0, REGION, np.tile(np.array(self.regions, dtype=object), len(cases)))
        return table
