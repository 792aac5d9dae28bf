"""Global and local views of a batch of slices, made on the device: decode, change intensity, crop, flip."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from braindino.errors import BraindinoError
from braindino.pretraining.crops import crop, sample_boxes
from braindino.pretraining.intensity import IntensityConfig, change_intensity
from braindino.pretraining.randomness import Randomness
from braindino.scans.preprocessing import decode

GLOBAL_CROPS = 2  # the method: each global crop predicts the other


@dataclass(frozen=True)
class ViewsConfig:
    """Multi-crop of one slice. Defaults: method.md, stage 1.

    Args:
        global_size: side of the two global crops in pixels, a multiple of the patch size.
        global_scale: smallest and largest area of a global crop, as a part of the slice's.
        local_size: side of the local crops in pixels, a multiple of the patch size.
        local_scale: smallest and largest area of a local crop.
        local_crops: number of local crops; 0 for none.
        flip: probability of a left-right flip, per view.
        intensity: changes made once per slice and shared by all its views.
    """

    global_size: int = 256
    global_scale: tuple[float, float] = (0.32, 1.0)
    local_size: int = 112
    local_scale: tuple[float, float] = (0.05, 0.32)
    local_crops: int = 8
    flip: float = 0.5
    intensity: IntensityConfig = field(default_factory=IntensityConfig)

    def check(self, patch_size: int) -> None:
        """Raises BraindinoError unless both crop sizes are multiples of `patch_size`."""
        for name, side in (("global_size", self.global_size), ("local_size", self.local_size)):
            if side < patch_size or side % patch_size:
                nearest = max(patch_size, round(side / patch_size) * patch_size)
                raise BraindinoError(
                    f"views.{name}: {side} is not a multiple of the encoder's patch size {patch_size}; "
                    f"the nearest is {nearest}."
                )


@dataclass(frozen=True)
class Views:
    """Crops of B slices, float32: `global_crops` (2, B, 1, S, S) and `local_crops` (L, B, 1, s, s)."""

    global_crops: Tensor
    local_crops: Tensor


@torch.no_grad()
def make_views(batch: Mapping[str, Tensor], config: ViewsConfig, randomness: Randomness) -> Views:
    """Views of a batch of raw slices, on the device they are on.

    Args:
        batch: "slices" (B, H, W) as the store holds them, "step" (B,) and "zero" (B,) to decode them.
        randomness: decides everything; equal generators give equal views.
    """
    raw = batch["slices"]
    with torch.autocast(raw.device.type, enabled=False):
        slices = decode(raw, batch["step"], batch["zero"])
        slices = change_intensity(slices, config.intensity, randomness.host, randomness.device)
        size = (slices.shape[1], slices.shape[2])
        boxes = sample_boxes(
            GLOBAL_CROPS, len(slices), size, config.global_scale, config.flip, randomness.host
        )
        global_crops = crop(slices, boxes, config.global_size)
        if not config.local_crops:
            return Views(
                global_crops, slices.new_zeros(0, len(slices), 1, config.local_size, config.local_size)
            )
        boxes = sample_boxes(
            config.local_crops, len(slices), size, config.local_scale, config.flip, randomness.host
        )
        return Views(global_crops, crop(slices, boxes, config.local_size))
