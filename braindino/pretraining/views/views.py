"""Views of a batch of slices on the device: decode, change, crop, flip; global, local, Gram."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from braindino.errors import BraindinoError
from braindino.pretraining import limits
from braindino.pretraining.views.crops import Boxes, crop, sample_boxes
from braindino.pretraining.views.intensity import IntensityConfig, change_intensity
from braindino.pretraining.views.rng import Randomness
from braindino.scans.preprocessing import decode

GLOBAL_CROPS = 2  # the method: each global crop predicts the other


@dataclass(frozen=True)
class Resolution:
    """Sides in pixels of the crops of one batch.

    Attributes:
        global_size: size of the global crops.
        local_size: size of the local crops.
        gram_size: size of the crops that the Gram teacher sees; None without one.
    """

    global_size: int
    local_size: int
    gram_size: int | None


@dataclass(frozen=True)
class ViewsConfig:
    """Multi-crop of one slice. Defaults: method.md "Pretraining".

    A list of sizes is a mixture of resolutions: each batch takes the i-th of every list, with probability
    `ratios[i]`, on all processes alike (DINOv3, section 5.1).

    Args:
        global_size: side of the two global crops in pixels, a multiple of the patch size; or a list.
        global_scale: smallest and largest area of a global crop, as a part of the slice's.
        local_size: side of the local crops in pixels, a multiple of the patch size; or a list.
        local_scale: smallest and largest area of a local crop.
        local_crops: number of local crops; 0 for none.
        gram_size: side at which the Gram teacher sees the global crops, or a list; None without one.
        ratios: probability of each entry of the lists, in any scale; None for equal ones.
        flip: probability of a left-right flip, per view.
        intensity: changes of the views.
        shared_intensity: change a slice once, before its views are cut (the method). False changes each view
            separately, with sigmas in its pixels and gamma in its range, so that equal contrast does not
            identify the views of a slice.
        gram_intensity: let the Gram teacher see the changes of intensity, as FlexiCT does; DINOv3 shows it
            unchanged crops. Needs `shared_intensity`.
        partial_patches: "refuse" sizes that the patch size does not divide; "drop" removes the pixels right
            and below of the last whole patch, as DINOv3's code does.

    Raises:
        BraindinoError: a number out of range, or `gram_intensity` without `shared_intensity`.
    """

    global_size: int | tuple[int, ...] = 256
    global_scale: tuple[float, float] = (0.32, 1.0)
    local_size: int | tuple[int, ...] = 112
    local_scale: tuple[float, float] = (0.05, 0.32)
    local_crops: int = 8
    gram_size: int | tuple[int, ...] | None = None
    ratios: tuple[float, ...] | None = None
    flip: float = 0.5
    intensity: IntensityConfig = field(default_factory=IntensityConfig)
    shared_intensity: bool = True
    gram_intensity: bool = False
    partial_patches: Literal["refuse", "drop"] = "refuse"

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        limits.rising(self, "views", "global_scale", "local_scale", high=1.0)
        limits.not_negative(self, "views", "local_crops")
        limits.fraction(self, "views", "flip")
        if self.gram_intensity and not self.shared_intensity:
            raise BraindinoError(
                "model.views.gram_intensity: needs shared_intensity: true; views that are changed separately "
                "share no change with the Gram teacher."
            )

    def resolutions(self) -> list[Resolution]:
        """Return every combination of sizes that a batch may have.

        Raises:
            BraindinoError: lists of different lengths.
        """
        given = {
            "global_size": self.global_size,
            "local_size": self.local_size,
            "gram_size": self.gram_size,
            "ratios": self.ratios,
        }
        lengths = {name: len(value) for name, value in given.items() if isinstance(value, tuple)}
        if len(set(lengths.values())) > 1 or 0 in lengths.values() or set(lengths) == {"ratios"}:
            listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise BraindinoError(
                f"views: a mixture of resolutions needs lists of one length; the lengths are {listed}.\n"
                "The i-th sizes belong together; a single number serves for all."
            )
        count = max(lengths.values(), default=1)

        def entry(value: int | tuple[int, ...], i: int) -> int:
            return value[i] if isinstance(value, tuple) else value

        return [
            Resolution(
                entry(self.global_size, i),
                entry(self.local_size, i),
                None if self.gram_size is None else entry(self.gram_size, i),
            )
            for i in range(count)
        ]

    def draw_resolution(self, generator: np.random.Generator) -> Resolution:
        """Draw the sizes of one batch."""
        choices = self.resolutions()
        weights = np.asarray(self.ratios or [1.0] * len(choices))
        return choices[generator.choice(len(choices), p=weights / weights.sum())]

    def check(self, patch_size: int) -> None:
        """Refuse sizes that are no multiples of the patch size, unequal lists and bad ratios.

        Args:
            patch_size: side of a patch in pixels; see `partial_patches`.

        Raises:
            BraindinoError: such a size or list.
        """
        if self.ratios is not None and (min(self.ratios, default=0) < 0 or sum(self.ratios) <= 0):
            raise BraindinoError(
                f"views.ratios: {list(self.ratios)} are no probabilities; give positive numbers."
            )
        for resolution in self.resolutions():
            for name, side in asdict(resolution).items():
                rest = 0 if side is None or self.partial_patches == "drop" else side % patch_size
                if side is not None and (side < patch_size or rest):
                    nearest = max(patch_size, round(side / patch_size) * patch_size)
                    raise BraindinoError(
                        f"views.{name}: {side} is not a multiple of the encoder's patch size {patch_size}; "
                        f"the nearest is {nearest}.\nmodel.views.partial_patches: drop removes the rest."
                    )


@dataclass(frozen=True)
class Views:
    """Crops of B slices, float32.

    Attributes:
        global_crops: (2, B, 1, S, S).
        local_crops: (L, B, 1, s, s).
        gram_crops: (2, B, 1, G, G), boxes and flips of the global crops, cut from the unchanged slices unless
            `gram_intensity` is set; None without a Gram teacher.
    """

    global_crops: Tensor
    local_crops: Tensor
    gram_crops: Tensor | None = None

    def whole_patches(self, patch_size: int) -> "Views":
        """Return the views without the pixels right and below of the last whole patch.

        DINOv3's patch embedding, a convolution with the stride of a patch, drops these.
        """

        def cut(crops: Tensor) -> Tensor:
            side = crops.shape[-1] - crops.shape[-1] % patch_size
            return crops[..., :side, :side]

        gram = None if self.gram_crops is None else cut(self.gram_crops)
        return Views(cut(self.global_crops), cut(self.local_crops), gram)


@torch.no_grad()
def make_views(batch: Mapping[str, Tensor], config: ViewsConfig, randomness: Randomness) -> Views:
    """Make the views of a batch of raw slices, on the device they are on.

    Args:
        batch: "slices" (B, H, W) as stored, "scale" (B,) and "zero_point" (B,) to decode them.
        config: sizes, scales and changes.
        randomness: decides everything; equal generators give equal views.
    """
    raw = batch["slices"]
    sizes = config.draw_resolution(randomness.shared)
    with torch.autocast(raw.device.type, enabled=False):
        unchanged = decode(raw, batch["scale"], batch["zero_point"])

        def change(pixels: Tensor) -> Tensor:
            return change_intensity(pixels, config.intensity, randomness.host, randomness.device)

        slices = change(unchanged) if config.shared_intensity else unchanged
        size = (slices.shape[1], slices.shape[2])

        def boxes(views: int, scale: tuple[float, float]) -> Boxes:
            return sample_boxes(views, len(slices), size, scale, config.flip, randomness.host)

        def cut(boxes: Boxes, side: int) -> Tensor:
            crops = crop(slices, boxes, side)
            if not config.shared_intensity:
                crops = change(crops.flatten(0, 2)).view(crops.shape)
            return crops

        global_boxes = boxes(GLOBAL_CROPS, config.global_scale)
        global_crops = cut(global_boxes, sizes.global_size)
        side = sizes.local_size
        local_crops = slices.new_zeros(0, len(slices), 1, side, side)
        if config.local_crops:
            local_crops = cut(boxes(config.local_crops, config.local_scale), side)
        gram_crops = None
        if sizes.gram_size is not None:
            source = slices if config.gram_intensity else unchanged
            gram_crops = crop(source, global_boxes, sizes.gram_size)
        return Views(global_crops, local_crops, gram_crops)
