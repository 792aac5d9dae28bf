"""Principal components of patch tokens, and the colours that pictures make of them."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def principal_components(values: npt.ArrayLike, count: int = 3) -> Array:
    """The first `count` principal components of M vectors (M, D), whitened: (M, count), each of variance 1.

    A component in which nothing varies is 0. Signs make the largest entry of a direction positive, so that
    they do not depend on the library.
    """
    given = np.asarray(values, np.float64)
    centred = given - given.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred / max(len(given), 1))
    variances, directions = variances[::-1][:count], directions[:, ::-1][:, :count]
    directions = directions * np.sign(
        directions[np.abs(directions).argmax(axis=0), np.arange(directions.shape[1])]
    )
    scores = centred @ directions
    # Constant up to rounding: whitening would show nothing but that.
    flat = variances <= 1e-12 * max(float((given**2).mean()), 1e-30)
    scores[:, flat] = 0.0
    whitened = scores / np.sqrt(np.where(flat, 1.0, variances))
    return np.pad(whitened, ((0, 0), (0, count - whitened.shape[1]))).astype(np.float32)


def as_colours(components: npt.ArrayLike) -> Array:
    """Components (M, 3) stretched between their 2nd and 98th percentile to 0-1."""
    values = np.asarray(components, np.float32)
    low, high = np.percentile(values, (2, 98), axis=0)
    return np.clip((values - low) / np.maximum(high - low, 1e-12), 0, 1).astype(np.float32)


def principal_colours(tokens: Array, foreground: npt.NDArray[np.bool_]) -> Array:
    """Colours of patches that change where the features do: (N, h, w, D) -> (N, h, w, 3) in 0 to 1.

    The first three principal components of the foreground's tokens over all N slices together, so that equal
    colours mean equal features in every slice. (The pictures of DINOv2 and DINOv3.)

    Args:
        foreground: (N, h, w); the other patches are black and do not count.
    """
    colours = np.zeros((*tokens.shape[:3], 3), np.float32)
    if foreground.sum() <= 3:
        foreground = np.ones_like(foreground)
    colours[foreground] = as_colours(principal_components(tokens[foreground]))
    return colours
