"""Segmentation head: one logit per region and pixel, and how its training draws slices."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional

from braindino.analysis.metrics.segmentation import REGION, ROW
from braindino.analysis.metrics.surface_dice import TOLERANCE, check_tolerance
from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.probing.decoders.base import Decoder, image_size_of, initialise
from braindino.probing.decoders.registry import DECODERS, DEFAULT, DecoderName, decoder_class
from braindino.probing.heads.base import Head, OptimizerDefaults
from braindino.probing.heads.mask_losses import Criterion, MaskLoss, check_criterion


@stable_id("SegmentationHead")
class SegmentationHead(Head):
    """Predict the regions of a mask, exclusive (softmax) or overlapping (sigmoid).

    Regions overlap if a label is part of several (BraTS: WT, TC, ET). The loss is Dice plus (binary) cross
    entropy, or another `criterion`. The Dice loss is computed over the batch and without the background,
    because most slices have no foreground. The decoder brings its own settings of the optimiser; `paper`
    those of BrainDINO's released code: AdamW (0.9, 0.98), lr 3e-4, weight decay 0.05, linear decay (method.md
    "Probes").

    Args:
        slices_per_case: slices that an epoch draws from each labelled case.
        foreground: share of them that is drawn from the slices with a region, each region of the case with
            equal probability; the rest is drawn from all slices between the first and last that are not
            empty.
        hard_empty: share of them that is drawn from the slices without a region, the more often the more
            false pixels the probe predicted on them when it last saw them (docs/segmentation.md "Training").
        decoder: what turns tokens into maps: `conv`, `detail`, `attention`, `linear`, `paper`, or `unet`
            without an encoder (docs/segmentation.md "Decoders"). If omitted `conv`, in `probe.recipe: paper`
            the decoder `paper`.
        image_size: slices are enlarged to so many rows and columns before the encoder, multiples of its
            patch; one number is the longer side. If omitted at least 28 x 28 patches, at most four times as
            large; `paper` enlarges nothing if omitted (BrainDINO: 512).
        neighbours: slices on each side that are decoded together with a slice.
        test_flips: average the predictions of a slice and of its mirror image, left to right.
        deep_supervision: the loss is computed on coarser maps of the decoder too, except the coarsest, each
            with half the weight of the next finer ones (nnU-Net); only `conv` and `detail` have such maps.
        use_tokens: false sets all tokens to zero: what the decoder does without the encoder.
        nsd_tolerance: distance up to which surfaces agree, of the surface Dice [mm].
        criterion: the loss: `dice_ce`, `dice_focal`, `dice_topk` or `tversky_ce` (docs/segmentation.md
            "Training").

    Attributes:
        membership: (256, R) bool, whether a label is part of a region; set by `build`.
        regions: names of the R regions; set by `build`.
        exclusive: whether no label is part of two regions; set by `build`.
    """

    task = "segmentation"
    metric, mode = "dice", "max"
    batch_size = 16
    dense = True
    membership: Tensor
    stored_defaults: ClassVar[Mapping[str, Any]] = {
        "decoder": "paper",
        "image_size": None,
        "neighbours": 0,
        "test_flips": False,
        "deep_supervision": False,
        "use_tokens": True,
        "nsd_tolerance": TOLERANCE,
        "hard_empty": 0.0,
        "criterion": "dice_ce",
    }

    def __init__(
        self,
        slices_per_case: int = 16,
        foreground: float = 0.33,
        decoder: DecoderName | None = None,
        image_size: int | list[int] | None = None,
        neighbours: int = 0,
        test_flips: bool = False,
        deep_supervision: bool = False,
        use_tokens: bool = True,
        nsd_tolerance: float = TOLERANCE,
        hard_empty: float = 0.0,
        criterion: Criterion = "dice_ce",
    ) -> None:
        super().__init__()
        if slices_per_case < 1:
            raise BraindinoError(
                f"model.head.init_args.slices_per_case {slices_per_case}: expected 1 or more."
            )
        if not 0 <= foreground <= 1:
            raise BraindinoError(f"model.head.init_args.foreground {foreground}: expected 0 to 1.")
        if not (hard_empty >= 0 and foreground + hard_empty <= 1 + 1e-9):
            raise BraindinoError(
                f"model.head.init_args.hard_empty {hard_empty}: expected 0 to {1 - foreground:g}, because "
                f"foreground {foreground} and hard_empty are shares of the same slices."
            )
        check_criterion(criterion)
        if neighbours < 0:
            raise BraindinoError(f"model.head.init_args.neighbours {neighbours}: expected 0 or more.")
        self.slices_per_case, self.foreground, self.hard_empty = slices_per_case, foreground, hard_empty
        self.criterion = criterion
        self.decoder, self.image_size, self.neighbours = decoder, image_size, neighbours
        self.test_flips, self.deep_supervision, self.use_tokens = test_flips, deep_supervision, use_tokens
        self.nsd_tolerance = check_tolerance(nsd_tolerance)
        self.regions: tuple[str, ...] = ()
        self.auxiliary = nn.ModuleList()
        self._check_decoder()

    def _check_decoder(self) -> None:
        """Raise BraindinoError for options that the decoder does not have."""
        decoder = decoder_class(self.decoder or DEFAULT)
        if self.neighbours and decoder.shares_fusion:
            raise BraindinoError(
                f"model.head.init_args.neighbours {self.neighbours}: the decoder {decoder.name} takes 0.\n"
                "Use another decoder."
            )
        if self.deep_supervision and not decoder.has_coarse_maps:
            coarse = [name for name, choice in DECODERS.items() if choice.has_coarse_maps]
            raise BraindinoError(
                f"model.head.init_args.deep_supervision: the decoder {decoder.name} has no coarser maps; "
                f"leave it out, or use {' or '.join(coarse)}."
            )
        if self.image_size is not None and not decoder.reads_tokens:
            raise BraindinoError(
                f"model.head.init_args.image_size {self.image_size}: the decoder {decoder.name} has no "
                "encoder that slices are enlarged for; leave it out."
            )

    @property
    def optimizer_defaults(self) -> OptimizerDefaults:  # type: ignore[override]
        """Return the settings of the optimiser that suit the decoder."""
        return decoder_class(self.decoder or DEFAULT).optimizer_defaults

    def make_decoder(self) -> Decoder:
        """Return the decoder, without parameters yet; its `image_size` must have been resolved."""
        size = [self.image_size] * 2 if isinstance(self.image_size, int) else self.image_size
        return decoder_class(self.decoder or DEFAULT)(size, self.neighbours, self.use_tokens)

    def resolve(self, size: tuple[int, int], patch_size: int) -> None:
        """Set `decoder` and `image_size` where they were omitted.

        Args:
            size: rows and columns of the prepared slices.
            patch_size: side of a patch of the encoder [pixels].

        Raises:
            BraindinoError: the image size does not suit encoder and slices.
        """
        self.decoder = self.decoder or DEFAULT
        self._check_decoder()
        if self.image_size is not None or decoder_class(self.decoder).enlarges:
            self.image_size = list(image_size_of(self.image_size, size, patch_size))

    def count_outputs(self, train_target: Tensor) -> int:
        """Return the logits per pixel: one per region, and one of the background if regions are exclusive.

        Args:
            train_target: (256, R) bool, whether a label is part of a region.
        """
        return train_target.shape[1] + (not _overlap(train_target))

    def encode(self, cases: pd.DataFrame, classes: Sequence[str]) -> Tensor:
        """Return the number of each case (N,); the target itself is its mask."""
        return torch.arange(len(cases))

    def build(self, width: int, train_target: Tensor, classes: Sequence[str]) -> None:
        """Initialise the last 1 x 1 convolution, unless the decoder returns logits.

        Args:
            width: channels of the decoder's maps.
            train_target: (256, R) bool, whether a label is part of a region.
            classes: names of the R regions.
        """
        self.regions = tuple(classes)
        self.register_buffer("membership", train_target)
        self.exclusive = not _overlap(train_target)
        self.layers: nn.Module = nn.Identity()
        if not decoder_class(self.decoder or DEFAULT).returns_logits:
            self.layers = nn.Conv2d(width, self.count_outputs(train_target), 1)
            initialise(self.layers)
        self.mask_loss = MaskLoss(self.criterion, self.exclusive)

    def build_auxiliary(self, widths: Sequence[int]) -> None:
        """Initialise 1 x 1 convolutions for the coarser maps of the decoder, with deep supervision.

        The coarsest map has none, as in nnU-Net, unless it is the only one: a small region is less than one
        of its points.

        Args:
            widths: channels of these maps, finest first.
        """
        if self.deep_supervision:
            outputs = self.count_outputs(self.membership)
            supervised = widths[:-1] or widths
            self.auxiliary = nn.ModuleList(nn.Conv2d(width, outputs, 1) for width in supervised)
            self.auxiliary.apply(initialise)

    def supervised_loss(self, output: Tensor, coarser: Sequence[Tensor], target: Tensor) -> Tensor:
        """Return the mean loss of the outputs of all maps, each coarser one with half the weight.

        Coarse outputs are enlarged to the slice, because in coarse labels small regions would vanish.

        Args:
            output: logits of the finest map, (B, C, H, W).
            coarser: coarser maps of the decoder, (B, width, h, w), finest first.
            target: (B, H, W) labels.
        """
        total, weights = self.loss(output, target), 1.0
        for number, (layer, maps) in enumerate(zip(self.auxiliary, coarser, strict=False), start=1):
            enlarged = functional.interpolate(layer(maps), target.shape[-2:], mode="bilinear")
            total, weights = total + self.loss(enlarged, target) / 2**number, weights + 1 / 2**number
        return total / weights

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits (B, C, H, W) and labels (B, H, W) uint8; see `criterion`."""
        loss: Tensor = self.mask_loss(output.float(), self.members(target))
        return loss

    def false_pixels(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the number of pixels that are predicted in some region on slices without any, (B,).

        It is 0 for slices with a region.

        Args:
            output: (B, C, H, W) logits.
            target: (B, H, W) labels.
        """
        predicted = self.decide(output).any(dim=1).flatten(1).sum(dim=1)
        return predicted * ~self.members(target).flatten(1).any(dim=1)

    def members(self, labels: Tensor) -> Tensor:
        """Return whether a pixel is part of a region, (B, R, H, W) bool, from labels (B, H, W)."""
        return self.membership[labels.long()].permute(0, 3, 1, 2)

    def decide(self, output: Tensor) -> Tensor:
        """Return the masks (B, R, H, W) bool from logits (B, C, H, W).

        They are the most probable class of exclusive regions, else all probabilities above 0.5.
        """
        if not self.exclusive:
            return output > 0
        # On a CPU `argmax` takes ten times as long.
        chosen = output.max(dim=1).indices
        return torch.stack([chosen == index + 1 for index in range(len(self.regions))], dim=1)

    def average(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the logits of the mean probabilities of two outputs (B, C, H, W)."""
        if self.exclusive:
            return torch.logaddexp(first.log_softmax(dim=1), second.log_softmax(dim=1)) - math.log(2)
        return torch.logit((first.sigmoid() + second.sigmoid()) / 2, eps=1e-6)

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
        """Return a row per case and region from measures (N, R, 12); see `measure_cases`."""
        table = pd.DataFrame(output.reshape(-1, len(ROW)).numpy(), columns=list(ROW))
        table.insert(0, REGION, np.tile(np.array(self.regions, dtype=object), len(cases)))
        return table


def _overlap(membership: Tensor) -> bool:
    """Return whether a label is part of several regions of a membership (256, R)."""
    return bool((membership.sum(dim=1) > 1).any())
