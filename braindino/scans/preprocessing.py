"""Preprocess a scan by an encoder's contract, and decode stored slices to values."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from braindino.errors import ScanError
from braindino.scans.contract import MIN_PLANE, Preprocessing
from braindino.scans.geometry import Geometry
from braindino.scans.normalisation import normalise
from braindino.scans.reading import Scan
from braindino.scans.resampling import linear_weights, resample

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Prepared:
    """Hold a scan that was prepared by a contract.

    Attributes:
        slices: (D, H, W) of the contract's dtype, C-contiguous.
        scale: value of one grey level; `decode` computes (slices - zero_point) * scale.
        zero_point: grey level of the value 0.
        first: index of the first slice with foreground.
        last: index of the last slice with foreground.
        geometry: transform to the native grid of the scan.
        stats: statistics of the nonzero voxels, see `Normalised`.
    """

    slices: np.ndarray
    scale: float
    zero_point: float
    first: int
    last: int
    geometry: Geometry
    stats: dict[str, float]


def preprocess(scan: Scan, contract: Preprocessing) -> Prepared:
    """Prepare a scan: clip, normalise, resample (linear, antialiased), orient, quantise.

    Resampling runs on the stored axes and the result is reoriented, which equals reorienting first and costs
    less. uint8 is an affine quantisation of the value range in which 0 is one of the levels, so that the
    background is exactly 0.

    Args:
        scan: the scan as read.
        contract: input contract of an encoder.

    Returns:
        The slices, with what is needed to decode and to restore them.

    Raises:
        ScanError: all nonzero voxels have one value, or a plane is too thin.
    """
    geometry = Geometry.of(scan, contract)
    slices, rows, columns = (scan.data.shape[axis] for axis in geometry.axes)
    if min(rows, columns) < MIN_PLANE:
        raise ScanError(
            scan.path, f"slices of {rows} x {columns} voxels: too thin in the plane of the contract"
        )
    # Scans are in Fortran order: the transpose (Z, Y, X) is in C order, on which masks and sums are fastest.
    stored = np.ascontiguousarray(scan.data.T)
    foreground = stored != 0
    values, background, low, high, stats = normalise(scan.path, stored, foreground, contract)

    profile = geometry.to_slices(foreground.T).any(axis=(1, 2)).astype(np.float32)
    covered = linear_weights(slices, geometry.grid[0], geometry.windows[0]) @ profile
    occupied = np.flatnonzero(covered >= min(0.5, float(covered.max())))

    if background:
        values -= np.float32(background)  # outside the scan, resampling gives 0
    volume = resample(values, geometry.stored_grid[::-1], geometry.stored_windows[::-1]).T
    if background:
        volume += np.float32(background)
    scale, zero_point = 1.0, 0.0
    if contract.dtype == "uint8":
        scale = (high - low) / 254
        zero_point = float(round(-low / scale))
        volume /= np.float32(scale)
        np.rint(volume, out=volume)
        volume += np.float32(zero_point)
        np.clip(volume, 0, 255, out=volume)
    return Prepared(
        slices=np.ascontiguousarray(geometry.to_slices(volume.astype(contract.dtype))),
        scale=scale,
        zero_point=zero_point,
        first=int(occupied[0]),
        last=int(occupied[-1]),
        geometry=geometry,
        stats=stats,
    )


Slices = TypeVar("Slices", np.ndarray, "torch.Tensor")


def decode(slices: Slices, scale: Any, zero_point: Any) -> Slices:
    """Return the float32 values of stored slices: (slices - zero_point) * scale.

    Args:
        slices: (...) uint8 or float16, an array or a tensor.
        scale: value of one grey level; a number, or an array (tensor) whose shape is a leading part of that
            of `slices`: (B,) for slices (B, H, W), (B, M) for (B, M, D, H, W).
        zero_point: grey level of the value 0; of the same shape as `scale`.
    """
    if isinstance(slices, np.ndarray):
        scale, zero_point = (np.asarray(value, np.float32) for value in (scale, zero_point))
        scale, zero_point = (v.reshape(v.shape + (1,) * (slices.ndim - v.ndim)) for v in (scale, zero_point))
        array: Slices = (slices.astype(np.float32) - zero_point) * scale
        return array
    import torch

    scale, zero_point = (
        torch.as_tensor(v, dtype=torch.float32, device=slices.device) for v in (scale, zero_point)
    )
    scale, zero_point = (v.reshape(*v.shape, *(1,) * (slices.ndim - v.ndim)) for v in (scale, zero_point))
    values: Slices = (slices.float() - zero_point) * scale
    return values
