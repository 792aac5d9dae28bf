"""Intensity changes of a batch of slices, or of their views."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindino.pretraining import limits


@dataclass(frozen=True)
class IntensityConfig:
    """Which changes, how often and how strong. Defaults: method.md "Augmentation".

    Args:
        noise: probability of Gaussian noise of standard deviation `noise_std` (of the z-scored slice).
        smoothing: probability of a Gaussian filter with sigma in `smoothing_sigma`, in pixels.
        scaling: probability of a factor within 1 +- `scaling_by`.
        low_resolution: probability of a reduction by a factor in `low_resolution_zoom` and back.
        gamma: probability of a power in `gamma_power`, applied to the slice's range scaled to 0-1.
    """

    noise: float = 0.1
    noise_std: float = 0.1
    smoothing: float = 0.2
    smoothing_sigma: tuple[float, float] = (0.5, 1.0)
    scaling: float = 0.15
    scaling_by: float = 0.25
    low_resolution: float = 0.25
    low_resolution_zoom: tuple[float, float] = (0.5, 1.0)
    gamma: float = 0.1
    gamma_power: tuple[float, float] = (0.7, 1.5)

    def __post_init__(self) -> None:
        """Refuse what is no probability, or no strength."""
        section = "views.intensity"
        limits.fraction(
            self, section, "noise", "smoothing", "scaling", "low_resolution", "gamma", "scaling_by"
        )
        limits.not_negative(self, section, "noise_std")
        limits.rising(self, section, "smoothing_sigma", "gamma_power")
        limits.rising(self, section, "low_resolution_zoom", high=1.0)


def change_intensity(
    slices: Tensor, config: IntensityConfig, host: np.random.Generator, device: torch.Generator
) -> Tensor:
    """Noise, smoothing, scaling, low resolution and gamma, in this order: (B, H, W) float32 -> the same.

    Only the slices that are drawn for a change are computed, so that the cost is in proportion to the
    probabilities.
    """
    slices = slices.clone()

    def chosen(probability: float) -> tuple[Tensor, int]:
        indices = np.flatnonzero(host.random(len(slices)) < probability)
        return torch.from_numpy(indices).to(slices.device, non_blocking=True), len(indices)

    def values(low: float, high: float, count: int) -> Tensor:
        drawn = host.uniform(low, high, count).astype(np.float32)
        return torch.from_numpy(drawn).to(slices.device, non_blocking=True)

    index, count = chosen(config.noise)
    if count:
        noise = torch.randn(count, *slices.shape[1:], generator=device, device=slices.device)
        slices[index] += config.noise_std * noise
    index, count = chosen(config.smoothing)
    if count:
        sigma = values(*config.smoothing_sigma, count)
        slices[index] = _separable(slices[index], lambda size: smoothing_matrix(sigma, size))
    index, count = chosen(config.scaling)
    if count:
        slices[index] *= values(1 - config.scaling_by, 1 + config.scaling_by, count)[:, None, None]
    index, count = chosen(config.low_resolution)
    if count:
        zoom = values(*config.low_resolution_zoom, count)
        slices[index] = _separable(slices[index], lambda size: low_resolution_matrix(zoom, size))
    index, count = chosen(config.gamma)
    if count:
        slices[index] = gamma(slices[index], values(*config.gamma_power, count))
    return slices


def _separable(slices: Tensor, matrix: Callable[[int], Tensor]) -> Tensor:
    """Apply an (N, size, size) matrix to the rows and to the columns of (N, H, W)."""
    return torch.bmm(torch.bmm(matrix(slices.shape[1]), slices), matrix(slices.shape[2]).mT)


def smoothing_matrix(sigma: Tensor, size: int) -> Tensor:
    """Gaussian filters, normalised at the edges: (N,) pixels -> (N, size, size)."""
    i = torch.arange(size, device=sigma.device)
    distance = (i[:, None] - i[None, :]).float()
    weights = (-0.5 * (distance[None] / sigma[:, None, None]) ** 2).exp_()
    return weights / weights.sum(dim=2, keepdim=True)


def low_resolution_matrix(zoom: Tensor, size: int) -> Tensor:
    """Reduce to round(zoom * size) pixels by nearest neighbour, back by a cubic: (N,) -> (N, size, size).

    The simulated low resolution of nnU-Net (Isensee et al. 2021): equal to `F.interpolate` with
    "nearest-exact" and then "bicubic", both without antialiasing.
    """
    small = (zoom * size).round().clamp(min=1)[:, None, None]
    position = (torch.arange(size, device=zoom.device) + 0.5)[None, :, None] * (small / size) - 0.5
    first = position.floor()
    tap = torch.arange(-1, 3, device=zoom.device)
    distance = (first + tap - position).abs()
    a = -0.75  # the cubic of F.interpolate without antialias
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    weight = torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))
    index = (first + tap).clamp(min=0).minimum(small - 1)
    source = ((index + 0.5) * (size / small)).floor().long().clamp_(max=size - 1)
    return weight.new_zeros(len(zoom), size, size).scatter_add_(2, source, weight)


def gamma(slices: Tensor, power: Tensor) -> Tensor:
    """((x - min) / range) ** power, back on the slice's own range: (N, H, W), (N,) -> (N, H, W)."""
    low = slices.amin(dim=(1, 2), keepdim=True)
    extent = (slices.amax(dim=(1, 2), keepdim=True) - low).clamp(min=1e-6)
    return ((slices - low) / extent).pow(power[:, None, None]) * extent + low
