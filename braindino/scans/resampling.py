"""Resample volumes by separable, antialiased linear interpolation, cropping and padding."""

from typing import Any

import numpy as np

# Part of an axis that a grid covers: start, in source voxels from the edge of the first one, and length.
Window = tuple[float, float]
Windows = tuple[Window, Window, Window]


def linear_weights(source: int, target: int, window: Window | None = None) -> Any:
    """Return the weights of antialiased linear interpolation along one axis.

    Voxel centres are at (i + 0.5) / n of the field of view (`align_corners=False`). When the target is
    coarser, the triangle is widened by the ratio, so that every source voxel contributes. This is the filter
    of `torch.nn.functional.interpolate(mode="bilinear", antialias=True)` and of Pillow's `BILINEAR`.

    Args:
        source: number of voxels.
        target: number of voxels of the result.
        window: part of the source that the target covers; all of it if omitted. A target voxel whose centre
            is outside the source has an empty row, which makes it 0.

    Returns:
        A `scipy.sparse.csr_array` (target, source) of float32 whose rows sum to one. It is sparse because a
        row has only a few entries, and because scipy's product uses one thread, as parallel workers need.
    """
    from scipy.sparse import csr_array

    centres = _centres(source, target, window)
    support = max((source if window is None else window[1]) / target, 1.0)
    first = np.maximum(np.floor(centres - support).astype(np.int64), 0)
    columns = first[:, None] + np.arange(int(np.ceil(2 * support)) + 1)
    weights = np.clip(1 - np.abs(columns + 0.5 - centres[:, None]) / support, 0, None)
    weights[columns >= source] = 0
    weights[(centres < 0) | (centres > source)] = 0
    total = weights.sum(axis=1, keepdims=True)
    weights /= np.where(total > 0, total, 1)
    rows = np.broadcast_to(np.arange(target)[:, None], columns.shape)
    positive = weights > 0
    return csr_array(
        (weights[positive].astype(np.float32), (rows[positive], columns[positive])),
        shape=(target, source),
        dtype=np.float32,
    )


def resample(volume: np.ndarray, shape: tuple[int, int, int], windows: Windows | None = None) -> np.ndarray:
    """Resample a volume to `shape`.

    An axis of unchanged length is not filtered. The result is 0 where all voxels under the filter are 0.

    Args:
        volume: (a, b, c) float32, C-contiguous.
        shape: lengths of the result.
        windows: per axis, the part of `volume` that the result covers, all of it if omitted; outside the
            volume the result is 0.

    Returns:
        (*shape) float32; `volume` itself if nothing changes.
    """
    a, b, c = volume.shape
    windows = ((0, a), (0, b), (0, c)) if windows is None else windows
    if (shape[0], windows[0]) != (a, (0, a)):
        weights = linear_weights(a, shape[0], windows[0])
        volume = (weights @ volume.reshape(a, b * c)).reshape(shape[0], b, c)
    if (shape[1], windows[1]) != (b, (0, b)):
        weights = linear_weights(b, shape[1], windows[1])
        out = np.empty((volume.shape[0], shape[1], c), np.float32)
        for i, plane in enumerate(volume):
            out[i] = weights @ plane
        volume = out
    if (shape[2], windows[2]) != (c, (0, c)):
        weights = linear_weights(c, shape[2], windows[2])
        out = np.empty((volume.shape[0], volume.shape[1], shape[2]), np.float32)
        for i, plane in enumerate(volume):
            out[i] = (weights @ np.ascontiguousarray(plane.T)).T
        volume = out
    return volume


def nearest_indices(source: int, target: int, window: Window | None = None) -> np.ndarray:
    """Return for each target voxel the index of the source voxel that contains its centre.

    Args:
        source: number of voxels.
        target: number of voxels of the result.
        window: part of the source that the target covers; all of it if omitted.

    Returns:
        (target,) int64; -1 where the centre is outside the source, which only a `window` makes possible.
    """
    if window in (None, (0, source)):
        return ((2 * np.arange(target) + 1) * source) // (2 * target)  # exact, where a float may round
    centres = _centres(source, target, window)
    return np.where((centres >= 0) & (centres < source), np.floor(centres), -1).astype(np.int64)


def _centres(source: int, target: int, window: Window | None) -> np.ndarray:
    """Return the centres of the target voxels, in source voxels from the edge of the first one."""
    start, length = (0.0, source) if window is None else window
    return start + (np.arange(target) + 0.5) * (length / target)
