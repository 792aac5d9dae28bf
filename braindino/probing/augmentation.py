"""Changes of slices that leave their label alone: flips, shifts, brightness; a mask moves with its slices."""

from dataclasses import dataclass

import torch
from torch import Tensor

from braindino.errors import BraindinoError


@dataclass(frozen=True)
class Augmentation:
    """What happens to the slices of training while the encoder is in the loop.

    All slices and modalities of a case, or of a training slice, change alike; the background stays exactly 0.

    Args:
        flip: probability of a left-right flip.
        shift: most that a slice is moved up or down and left or right, as a part of its side.
        scale: most that values other than the background are multiplied by, above or below 1.
        offset: most that is added to them or taken from them (z-scores).
    """

    flip: float = 0.5
    shift: float = 0.05
    scale: float = 0.1
    offset: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what is no probability or no part."""
        for name in ("flip", "shift", "scale", "offset"):
            if not 0 <= getattr(self, name) <= 1:
                raise BraindinoError(f"model.augment.{name} {getattr(self, name)}: expected 0 to 1.")

    def __call__(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Change images (B, ..., H, W) and their labels (B, H, W), if any, alike.

        Draws from torch's global random state on the CPU, wherever the images are, so that the same seed
        gives the same changes on every device.
        """
        draws = torch.rand(len(images), 5)
        flips = draws[:, 0] < self.flip
        moved = 2 * draws[:, 1:] - 1
        side = torch.tensor(images.shape[-2:])
        shifts = (moved[:, :2] * self.shift * side).round().long().tolist()
        changed, others = [], []
        for i, (flip, (down, right)) in enumerate(zip(flips.tolist(), shifts, strict=True)):
            image = images[i]
            foreground = image != 0
            scale, offset = 1 + self.scale * float(moved[i, 2]), self.offset * float(moved[i, 3])
            image = (image * scale + offset) * foreground
            changed.append(_moved(image, flip, down, right))
            if labels is not None:
                others.append(_moved(labels[i], flip, down, right))
        return torch.stack(changed), torch.stack(others) if labels is not None else None


def _moved(image: Tensor, flip: bool, down: int, right: int) -> Tensor:
    """Flip (..., H, W) left to right, then move it; what comes in is 0."""
    if flip:
        image = image.flip(-1)
    for dim, by in ((-2, down), (-1, right)):
        if by:
            image = image.roll(by, dim)
            image.narrow(dim, 0 if by > 0 else image.shape[dim] + by, abs(by)).zero_()
    return image
