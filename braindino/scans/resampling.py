"""Separable, antialiased linear resampling of a volume that keeps its field of view."""

from typing import Any

import numpy as np


def linear_weights(source: int, target: int) -> Any:
    """Weights of antialiased linear interpolation: sparse float32 (target, source), rows sum to one.

    Voxel centres lie at (i + 0.5) / n of the field of view (`align_corners=False`). When the target is
    coarser, the triangle is widened by the ratio, so that every source voxel counts. This is the filter of
    `torch.nn.functional.interpolate(mode="bilinear", antialias=True)` and of Pillow's `BILINEAR`. Sparse:
    a row has two to a few entries, and scipy's product stays in one thread, which is what many worker
    processes side by side need.
    """
    from scipy.sparse import csr_array

    ratio = source / target
    support = max(ratio, 1.0)
    centres = (np.arange(target) + 0.5) * ratio
    first = np.maximum(np.floor(centres - support).astype(np.int64), 0)
    columns = first[:, None] + np.arange(int(np.ceil(2 * support)) + 1)
    weights = np.clip(1 - np.abs(columns + 0.5 - centres[:, None]) / support, 0, None)
    weights[columns >= source] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(target)[:, None], columns.shape)
    kept = weights > 0
    return csr_array(
        (weights[kept].astype(np.float32), (rows[kept], columns[kept])),
        shape=(target, source),
        dtype=np.float32,
    )


def resample(volume: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Resample a float32 volume (a, b, c), C-contiguous, to `shape`.

    An axis that keeps its length is not touched. Where all voxels under the filter are 0, so is the result.
    """
    a, b, c = volume.shape
    if shape[0] != a:
        weights = linear_weights(a, shape[0])
        volume = (weights @ volume.reshape(a, b * c)).reshape(shape[0], b, c)
    if shape[1] != b:
        weights = linear_weights(b, shape[1])
        out = np.empty((volume.shape[0], shape[1], c), np.float32)
        for i, plane in enumerate(volume):
            out[i] = weights @ plane
        volume = out
    if shape[2] != c:
        weights = linear_weights(c, shape[2])
        out = np.empty((volume.shape[0], volume.shape[1], shape[2]), np.float32)
        for i, plane in enumerate(volume):
            out[i] = (weights @ np.ascontiguousarray(plane.T)).T
        volume = out
    return volume


def nearest_indices(source: int, target: int) -> np.ndarray:
    """For each of `target` voxels, the index of the source voxel that holds its centre (int64)."""
    return ((2 * np.arange(target) + 1) * source) // (2 * target)
