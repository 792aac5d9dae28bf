"""Clip and normalise the intensities of a scan by a contract."""

from pathlib import Path

import numpy as np

from braindino.errors import ScanError
from braindino.scans.contract import Preprocessing


def normalise(
    path: Path, stored: np.ndarray, foreground: np.ndarray, contract: Preprocessing
) -> tuple[np.ndarray, float, float, float, dict[str, float]]:
    """Clip and normalise the voxels of a scan.

    Args:
        path: of the scan, for messages.
        stored: voxels, float32, in any shape.
        foreground: which of them are nonzero, in the same shape.
        contract: percentiles and kind of normalisation.

    Returns:
        The normalised values in the shape of `stored`; the value of the background; the smallest and the
        largest value, 0 among them; and the statistics of the clipped nonzero voxels in the scan's units.

    Raises:
        ScanError: the voxels have one value, or none from which the contract takes its statistics.
    """
    nonzero = stored[foreground]
    if nonzero.size == 0:
        raise ScanError(path, "constant volume: every voxel is 0")
    low, high = (float(value) for value in np.percentile(nonzero, contract.clip))
    span = high - low
    if not 1e-30 < span < 1e30:
        raise ScanError(
            path,
            f"constant volume: nonzero voxels are {low:g} from the {contract.clip[0]:g}th to the "
            f"{contract.clip[1]:g}th percentile" if span == 0 else f"values from {low:g} to {high:g}",
        )  # fmt: skip
    # Scaled to 0-1 before any square is taken: no scale of the input can over- or underflow.
    np.clip(nonzero, low, high, out=nonzero)
    nonzero -= np.float32(low)
    nonzero *= np.float32(1 / span)
    mean, deviation = _moments(nonzero)
    stats = {
        "low": low, "high": high, "mean": low + mean * span, "deviation": deviation * span,
        "nonzero": float(nonzero.size / stored.size),
    }  # fmt: skip
    bottom, top, background = 0.0, 1.0, 0.0
    if contract.normalise != "minmax":
        empty = -low / span  # the value 0 on the same scale
        if contract.normalise == "zscore-clipped":
            empty = min(max(empty, 0.0), 1.0)
            # only a lower percentile above 0 lifts the background above 0
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
    return values, background, min(bottom, background, 0.0), max(top, background, 0.0), stats


def _moments(values: np.ndarray) -> tuple[float, float]:
    """Return mean and population standard deviation."""
    mean = float(values.mean(dtype=np.float64))
    return mean, float(np.sqrt(np.square(values - np.float32(mean)).mean(dtype=np.float64)))


def _moments_with_background(path: Path, positive: np.ndarray, background: int) -> tuple[float, float]:
    """Return mean and deviation of `positive` and of `background` further voxels at 0 of the same scale."""
    if not positive.size:
        raise ScanError(path, "no voxel is above 0, and the contract takes its statistics from those")
    inner, spread = _moments(positive)
    share = positive.size / (positive.size + background)
    mean = share * inner
    square = share * (spread**2 + (1 - share) * inner**2)
    if square <= 0:
        raise ScanError(path, "constant volume: all voxels above 0 have one value after clipping")
    return mean, float(np.sqrt(square))
