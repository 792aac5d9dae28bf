"""Intensity changes of a batch of slices, or of their views."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindino.errors import BraindinoError
from braindino.pretraining import limits


@dataclass(frozen=True)
class IntensityConfig:
    """Changes of intensity, with their probabilities and strengths.

    Defaults: method.md "Pretraining", *Changes of intensity*.

    Args:
        noise: probability of Gaussian noise.
        noise_std: standard deviation of the noise, on the z-scored slice: drawn uniformly from a pair
            (MONAI's RandGaussianNoise, which FlexiCT uses, draws from 0 up), or a fixed number.
        smoothing: probability of a Gaussian filter.
        smoothing_sigma: range of its sigma in pixels, drawn for rows and for columns.
        scaling: probability of a factor within 1 +- `scaling_by`.
        scaling_by: largest deviation of the factor from 1.
        low_resolution: probability of a reduction by a factor in `low_resolution_zoom` and back.
        low_resolution_zoom: range of that factor.
        gamma: probability of a power in `gamma_power`, applied to the slice's range scaled to 0-1.
        gamma_power: range of the power.

    Raises:
        BraindinoError: a number out of range.
    """

    noise: float = 0.1
    noise_std: float | tuple[float, float] = (0.0, 0.1)
    smoothing: float = 0.2
    smoothing_sigma: tuple[float, float] = (0.5, 1.0)
    scaling: float = 0.15
    scaling_by: float = 0.25
    low_resolution: float = 0.25
    low_resolution_zoom: tuple[float, float] = (0.5, 1.0)
    gamma: float = 0.1
    gamma_power: tuple[float, float] = (0.7, 1.5)

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        section = "views.intensity"
        limits.fraction(
            self, section, "noise", "smoothing", "scaling", "low_resolution", "gamma", "scaling_by"
        )
        strength = self.noise_std if isinstance(self.noise_std, tuple) else (self.noise_std, self.noise_std)
        if not (len(strength) == 2 and 0 <= strength[0] <= strength[1] < math.inf):
            raise BraindinoError(
                f"model.{section}.noise_std: {self.noise_std} is not possible; expected a number from 0 up, "
                "or two rising ones."
            )
        limits.rising(self, section, "smoothing_sigma", "gamma_power")
        limits.rising(self, section, "low_resolution_zoom", high=1.0)


def change_intensity(
    slices: Tensor, config: IntensityConfig, host: np.random.Generator, device: torch.Generator
) -> Tensor:
    """Apply noise, smoothing, scaling, low resolution and gamma, in this order.

    Only the slices that are drawn for a change are computed, so that the cost is in proportion to the
    probabilities.

    Args:
        slices: (B, H, W) float32; not changed themselves.
        config: probabilities and strengths.
        host: decides which slices are changed, and how strongly.
        device: draws the noise.

    Returns:
        (B, H, W) float32.
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
        spread = config.noise_std if isinstance(config.noise_std, tuple) else (config.noise_std,) * 2
        slices[index] += values(*spread, count)[:, None, None] * noise
    index, count = chosen(config.smoothing)
    if count:
        rows, columns = slices.shape[1:]
        slices[index] = _separable(
            slices[index],
            smoothing_matrix(values(*config.smoothing_sigma, count), rows),
            smoothing_matrix(values(*config.smoothing_sigma, count), columns),
        )
    index, count = chosen(config.scaling)
    if count:
        slices[index] *= values(1 - config.scaling_by, 1 + config.scaling_by, count)[:, None, None]
    index, count = chosen(config.low_resolution)
    if count:
        zoom = values(*config.low_resolution_zoom, count)
        vertical, horizontal = (low_resolution_matrix(zoom, size) for size in slices.shape[1:])
        slices[index] = _separable(slices[index], vertical, horizontal)
    index, count = chosen(config.gamma)
    if count:
        slices[index] = gamma(slices[index], values(*config.gamma_power, count))
    return slices


def _separable(slices: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Apply matrices (N, H, H) and (N, W, W) along the two axes of (N, H, W)."""
    return torch.bmm(torch.bmm(vertical, slices), horizontal.mT)


def smoothing_matrix(sigma: Tensor, size: int) -> Tensor:
    """Return Gaussians integrated over pixels, normalised at the edges.

    The weights are those of MONAI's RandGaussianSmooth (`approx="erf"`), which cuts them off at 4 sigma and
    uses zeros beyond the edges.

    Args:
        sigma: (N,) in pixels.
        size: size of the axis in pixels.

    Returns:
        (N, size, size).
    """
    i = torch.arange(size, device=sigma.device)
    distance = (i[:, None] - i[None, :]).float()[None]
    scale = math.sqrt(0.5) / sigma[:, None, None]
    weights = torch.erf((distance + 0.5) * scale) - torch.erf((distance - 0.5) * scale)
    return weights / weights.sum(dim=2, keepdim=True)


def low_resolution_matrix(zoom: Tensor, size: int) -> Tensor:
    """Return matrices that reduce an axis by nearest neighbour and enlarge it by a cubic.

    The simulated low resolution of nnU-Net (Isensee et al. 2021): equal to `F.interpolate` with
    "nearest-exact" to round(zoom * size) pixels and then "bicubic", both without antialiasing.

    Args:
        zoom: (N,) factors.
        size: size of the axis in pixels.

    Returns:
        (N, size, size).
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
    """Raise slices, scaled to 0-1, to a power, and scale them back to their range.

    Args:
        slices: (N, H, W).
        power: (N,).

    Returns:
        (N, H, W).
    """
    low = slices.amin(dim=(1, 2), keepdim=True)
    extent = (slices.amax(dim=(1, 2), keepdim=True) - low).clamp(min=1e-6)
    return ((slices - low) / extent).pow(power[:, None, None]) * extent + low
