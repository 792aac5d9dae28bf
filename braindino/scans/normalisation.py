"""Clip and normalise the intensities of a scan by a contract."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from braindino.errors import ScanError
from braindino.scans.contract import Preprocessing


class Normalised(NamedTuple):
    """Normalised voxels of a scan.

    Attributes:
        values: float32, in the shape of the scan.
        background: value of the voxels that were 0.
        low: smallest value, 0 included.
        high: largest value, 0 included.
        stats: statistics of the clipped nonzero voxels in the scan's units: low, high, mean, deviation; and
            nonzero, their share of all voxels.
    """

    values: np.ndarray
    background: float
    low: float
    high: float
    stats: dict[str, float]


def normalise(path: Path, stored: np.ndarray, foreground: np.ndarray, contract: Preprocessing) -> Normalised:
    """Clip and normalise the voxels of a scan.

    Args:
        path: path of the scan, for messages.
        stored: voxels, float32, in any shape.
        foreground: True where `stored` is nonzero, in the same shape.
        contract: percentiles and kind of normalisation.

    Raises:
        ScanError: all nonzero voxels have one value, or none is usable for the statistics of the contract.
    """
    nonzero = stored[foreground]
    if nonzero.size == 0:
        raise ScanError(path, "constant volume: every voxel is 0")
    low, high = (float(value) for value in np.percentile(nonzero, contract.clip))
    span = high - low
    if not 1e-30 < span < 1e30:
        reason = f"values from {low:g} to {high:g}"
        if span == 0:
            clip = f"from the {contract.clip[0]:g}th to the {contract.clip[1]:g}th percentile"
            reason = f"constant volume: nonzero voxels are {low:g} {clip}"
        raise ScanError(path, reason)
    # Scale to 0-1 before squaring, so that no scale of the input can over- or underflow.
    np.clip(nonzero, low, high, out=nonzero)
    nonzero -= np.float32(low)
    nonzero *= np.float32(1 / span)
    mean, deviation = _moments(nonzero)
    stats = {
        "low": low,
        "high": high,
        "mean": low + mean * span,
        "deviation": deviation * span,
        "nonzero": float(nonzero.size / stored.size),
    }
    bottom, top, background = 0.0, 1.0, 0.0
    if contract.normalise != "minmax":
        empty = -low / span  # the value 0 on the same scale
        if contract.normalise == "zscore-clipped":
            empty = min(max(empty, 0.0), 1.0)
            # Only a lower percentile above 0 raises the background above 0.
            lifted = stored.size - nonzero.size if low > 0 else 0
            positive = nonzero if low > 0 else nonzero[nonzero > empty]
            mean, deviation = _moments_with_background(path, positive, lifted)
        nonzero -= np.float32(mean)
        nonzero *= np.float32(1 / deviation)
        bottom, top = -mean / deviation, (1 - mean) / deviation
        if not contract.zero_background:
            background = (empty - mean) / deviation
    values = np.full(stored.shape, background, np.float32)
    values[foreground] = nonzero
    return Normalised(values, background, min(bottom, background, 0.0), max(top, background, 0.0), stats)


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Return mean and population standard deviation."""
    mean = float(values.mean(dtype=np.float64))
    return mean, float(np.sqrt(np.square(values - np.float32(mean)).mean(dtype=np.float64)))


def _moments_with_background(path: Path, positive: np.ndarray, background: int) -> tuple[float, float]:
    """Return mean and deviation of `positive` together with `background` voxels of value 0."""
    if not positive.size:
        raise ScanError(path, "no voxel is above 0, and the contract computes its statistics from those")
    inner, spread = _moments(positive)
    share = positive.size / (positive.size + background)
    mean = share * inner
    square = share * (spread**2 + (1 - share) * inner**2)
    if square <= 0:
        raise ScanError(path, "constant volume: all voxels above 0 have one value after clipping")
    return mean, float(np.sqrt(square))
