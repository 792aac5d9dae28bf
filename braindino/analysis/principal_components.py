"""Compute principal components of features, and the colours with which pictures show them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def principal_components(values: ArrayLike, count: int = 3) -> NDArray[np.float32]:
    """Return the first whitened principal components (M, count), each of variance 1.

    A component without variation is 0. Signs make the largest entry of a direction positive, so that they do
    not depend on the library.

    Args:
        values: (M, D) vectors.
        count: number of components.
    """
    vectors = np.asarray(values, np.float64)
    centred = vectors - vectors.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred / max(len(vectors), 1))
    variances, directions = variances[::-1][:count], directions[:, ::-1][:, :count]
    largest = directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])]
    scores = centred @ (directions * np.sign(largest))
    # Whitening would amplify rounding errors of a component that is constant up to rounding.
    flat = variances <= 1e-12 * max(float((vectors**2).mean()), 1e-30)
    scores[:, flat] = 0.0
    whitened = scores / np.sqrt(np.where(flat, 1.0, variances))
    return np.asarray(np.pad(whitened, ((0, 0), (0, count - whitened.shape[1]))), np.float32)


def as_colours(components: ArrayLike) -> NDArray[np.float32]:
    """Return colours (M, 3) in 0-1: components stretched between their 2nd and 98th percentile.

    Args:
        components: (M, 3).
    """
    values = np.asarray(components, np.float32)
    low, high = np.percentile(values, (2, 98), axis=0)
    return np.asarray(np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1), np.float32)


def principal_colours(tokens: NDArray[np.float32], foreground: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return colours (N, h, w, 3) in 0-1 of patch tokens; equal colours are equal features.

    The colours are the first three principal components of the foreground's tokens over all N slices
    together, as in the pictures of DINOv2 and DINOv3.

    Args:
        tokens: (N, h, w, D).
        foreground: (N, h, w); the other patches are black and do not count.
    """
    colours = np.zeros((*tokens.shape[:3], 3), np.float32)
    if foreground.sum() <= 3:
        foreground = np.ones_like(foreground)
    colours[foreground] = as_colours(principal_components(tokens[foreground]))
    return colours
