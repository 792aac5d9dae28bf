"""Separable, antialiased linear resampling of a volume: stretched to a grid, or cropped and padded to it."""

from typing import Any

import numpy as np

# Of one axis: where a grid begins, in source voxels from the edge of the first one, and how many it covers.
Window = tuple[float, float]
Windows = tuple[Window, Window, Window]


def linear_weights(source: int, target: int, window: Window | None = None) -> Any:
    """Weights of antialiased linear interpolation: sparse float32 (target, source), rows sum to one.

    Voxel centres lie at (i + 0.5) / n of the field of view (`align_corners=False`). When the target is
    coarser, the triangle is widened by the ratio, so that every source voxel counts. This is the filter of
    `torch.nn.functional.interpolate(mode="bilinear", antialias=True)` and of Pillow's `BILINEAR`. Sparse:
    a row has two to a few entries, and scipy's product stays in one thread, which is what many worker
    processes side by side need.

    Args:
        window: the part of the source that the target covers; all of it if omitted. A target voxel whose
            centre lies outside of the source has an empty row, which makes it 0.
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
    kept = weights > 0
    return csr_array(
        (weights[kept].astype(np.float32), (rows[kept], columns[kept])),
        shape=(target, source),
        dtype=np.float32,
    )


def resample(volume: np.ndarray, shape: tuple[int, int, int], windows: Windows | None = None) -> np.ndarray:
    """Resample a float32 volume (a, b, c), C-contiguous, to `shape`.

    An axis that keeps its length is not touched. Where all voxels under the filter are 0, so is the result.

    Args:
        windows: per axis, the part of `volume` that the result covers, all of it if omitted; what lies
            outside of the volume becomes 0.
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
    """For each of `target` voxels, the index of the source voxel that holds its centre (int64).

    -1 where the centre lies outside of the source, which only a `window` makes possible.
    """
    if window in (None, (0, source)):
        return ((2 * np.arange(target) + 1) * source) // (2 * target)  # exact, where a float may round
    centres = _centres(source, target, window)
    return np.where((centres >= 0) & (centres < source), np.floor(centres), -1).astype(np.int64)


def _centres(source: int, target: int, window: Window | None) -> np.ndarray:
    """Where the centres of the target voxels lie, in source voxels from the edge of the first one."""
    start, length = (0.0, source) if window is None else window
    return start + (np.arange(target) + 0.5) * (length / target)
