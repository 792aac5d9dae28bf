"""Augmentation of training slices: flips, shifts, rotation, zoom, and changes of intensity."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from braindino.errors import BraindinoError


@dataclass(frozen=True)
class Augmentation:
    """Change training slices at random while the encoder is in the loop.

    All slices and modalities of a case get the same change (noise: of the same strength); the background
    stays exactly 0. Masks move with their slices.

    Args:
        flip: probability of a left-right flip.
        shift: largest shift up or down and left or right, as a share of the side.
        scale: largest change of a factor on the foreground, above or below 1: contrast, as the mean is 0.
        offset: largest value that is added to or subtracted from the foreground [z-scores].
        rotation: largest rotation in the plane, in both directions [degrees].
        zoom: largest enlargement, as a share of the size; the largest reduction is its inverse.
        gamma: foreground in its range, as 0 to 1, is raised to a power of at most 1 + gamma, at least
            1 / (1 + gamma).
        noise: largest standard deviation of Gaussian noise on the foreground [z-scores].
    """

    flip: float = 0.5
    shift: float = 0.05
    scale: float = 0.1
    offset: float = 0.1
    rotation: float = 0.0
    zoom: float = 0.0
    gamma: float = 0.0
    noise: float = 0.0
    stored_defaults: ClassVar[Mapping[str, Any]] = dict.fromkeys(("rotation", "zoom", "gamma", "noise"), 0.0)

    def __post_init__(self) -> None:
        """Raise BraindinoError for values outside of 0 to 1, and rotations above 180 degrees."""
        for name in ("flip", "shift", "scale", "offset", "zoom", "gamma", "noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise BraindinoError(f"model.augment.{name} {getattr(self, name)}: expected 0 to 1.")
        if not 0 <= self.rotation <= 180:
            raise BraindinoError(f"model.augment.rotation {self.rotation}: expected 0 to 180 degrees.")

    @property
    def flips_only(self) -> bool:
        """Return whether nothing changes but left and right."""
        amounts = [getattr(self, field.name) for field in fields(self) if field.name != "flip"]
        return not any(amounts)

    def __call__(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return changed images, and the labels with the same changes.

        The random numbers are drawn on the CPU, so that a seed gives the same changes on every device.
        Rotation, zoom, gamma and noise of 0 draw none.

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
        images, labels = torch.stack(changed), torch.stack(changed_labels) if labels is not None else None
        if self.rotation or self.zoom:
            images, labels = self._turned(images, labels)
        return self._recoloured(images), labels

    def _turned(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return images and labels rotated and zoomed about their centre; new pixels are 0."""
        draws = 2 * torch.rand(len(images), 2) - 1
        angles = draws[:, 0] * math.radians(self.rotation)
        grid = _sampling_grid(angles, (1 + self.zoom) ** draws[:, 1], images.shape[-2:]).to(images.device)
        planes = images.flatten(1, -3) if images.ndim > 3 else images[:, None]
        # Interpolation would give the background beside the foreground values other than 0.
        foreground = functional.grid_sample(
            (planes != 0).to(planes.dtype), grid, mode="nearest", align_corners=False
        )
        turned = functional.grid_sample(planes, grid, align_corners=False) * foreground
        if labels is not None:
            values = functional.grid_sample(
                labels[:, None].float(), grid, mode="nearest", align_corners=False
            )
            labels = values[:, 0].to(labels.dtype)
        return turned.reshape(images.shape), labels

    def _recoloured(self, images: Tensor) -> Tensor:
        """Return images after gamma and noise."""
        if not (self.gamma or self.noise):
            return images
        per_image = (-1, *[1] * (images.ndim - 1))
        foreground = images != 0
        if self.gamma:
            powers = (1 + self.gamma) ** (2 * torch.rand(len(images)) - 1)
            every = tuple(range(1, images.ndim))
            low = torch.where(foreground, images, torch.inf).amin(every, keepdim=True)
            high = torch.where(foreground, images, -torch.inf).amax(every, keepdim=True)
            extent = (high - low).clamp(min=1e-6)
            relative = ((images - low) / extent).clamp(0, 1)
            power = powers.reshape(per_image).to(images)
            images = torch.where(foreground, low + extent * relative**power, images)
        if self.noise:
            strengths = self.noise * torch.rand(len(images)).reshape(per_image)
            noise = strengths * torch.randn(images.shape)
            images = images + noise.to(images) * foreground
        return images


def _sampling_grid(angles: Tensor, zooms: Tensor, size: torch.Size) -> Tensor:
    """Return the coordinates (B, H, W, 2) at which `grid_sample` reads rotated and zoomed images.

    Args:
        angles: (B,) counter-clockwise [radians].
        zooms: (B,) enlargement, above 1.
        size: rows and columns.
    """
    height, width = size
    cos, sin, zero = angles.cos() / zooms, angles.sin() / zooms, torch.zeros_like(angles)
    # Coordinates run from -1 to 1 along both sides; the ratio keeps right angles.
    rows = torch.stack([cos, -sin * height / width, zero, sin * width / height, cos, zero], dim=1)
    return functional.affine_grid(
        rows.reshape(-1, 2, 3), [len(angles), 1, height, width], align_corners=False
    )


def _moved(image: Tensor, flip: bool, down: int, right: int) -> Tensor:
    """Return an image (..., H, W) flipped left to right, then moved; new pixels are 0."""
    if flip:
        image = image.flip(-1)
    for dim, by in ((-2, down), (-1, right)):
        if by:
            image = image.roll(by, dim)
            image.narrow(dim, 0 if by > 0 else image.shape[dim] + by, abs(by)).zero_()
    return image
