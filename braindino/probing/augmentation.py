"""Augmentation of training slices: flips, shifts and brightness."""

from dataclasses import dataclass

import torch
from torch import Tensor

from braindino.errors import BraindinoError


@dataclass(frozen=True)
class Augmentation:
    """Change training slices at random while the encoder is in the loop.

    All slices and modalities of a case get the same change; the background stays exactly 0.

    Args:
        flip: probability of a left-right flip.
        shift: largest shift up or down and left or right, as a share of the side.
        scale: largest change of a factor on the foreground, above or below 1.
        offset: largest value that is added to or subtracted from the foreground [z-scores].
    """

    flip: float = 0.5
    shift: float = 0.05
    scale: float = 0.1
    offset: float = 0.1

    def __post_init__(self) -> None:
        """Raise BraindinoError for values outside of 0 to 1."""
        for name in ("flip", "shift", "scale", "offset"):
            if not 0 <= getattr(self, name) <= 1:
                raise BraindinoError(f"model.augment.{name} {getattr(self, name)}: expected 0 to 1.")

    @property
    def flips_only(self) -> bool:
        """Return whether nothing changes but left and right."""
        return self.shift == self.scale == self.offset == 0

    def __call__(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return changed images, and the labels with the same changes.

        The random numbers are drawn on the CPU, so that a seed gives the same changes on every device.

        Args:
            images: (B, ..., H, W).
            labels: (B, H, W), or None.
        """
        draws = torch.rand(len(images), 5)
        flips = draws[:, 0] < self.flip
        moved = 2 * draws[:, 1:] - 1
        side = torch.tensor(images.shape[-2:])
        shifts = (moved[:, :2] * self.shift * side).round().long().tolist()
        changed, changed_labels = [], []
        for i, (flip, (down, right)) in enumerate(zip(flips.tolist(), shifts, strict=True)):
            image = images[i]
            foreground = image != 0
            scale, offset = 1 + self.scale * float(moved[i, 2]), self.offset * float(moved[i, 3])
            image = (image * scale + offset) * foreground
            changed.append(_moved(image, flip, down, right))
            if labels is not None:
                changed_labels.append(_moved(labels[i], flip, down, right))
        return torch.stack(changed), torch.stack(changed_labels) if labels is not None else None


def _moved(image: Tensor, flip: bool, down: int, right: int) -> Tensor:
    """Return an image (..., H, W) flipped left to right, then moved; new pixels are 0."""
    if flip:
        image = image.flip(-1)
    for dim, by in ((-2, down), (-1, right)):
        if by:
            image = image.roll(by, dim)
            image.narrow(dim, 0 if by > 0 else image.shape[dim] + by, abs(by)).zero_()
    return image
