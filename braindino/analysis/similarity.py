"""Measure the similarity of features: cosine similarity, linear CKA."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def cosine_to(tokens: ArrayLike, reference: ArrayLike) -> NDArray[np.float32]:
    """Return the cosine similarity (...) of tokens to references.

    Args:
        tokens: (..., D).
        reference: (..., D), broadcast against `tokens`.
    """
    left, right = np.asarray(tokens, np.float32), np.asarray(reference, np.float32)
    norms = np.linalg.norm(left, axis=-1) * np.linalg.norm(right, axis=-1)
    similarity: NDArray[np.float32] = (left * right).sum(axis=-1) / np.maximum(norms, 1e-12)
    return similarity


def linear_cka(x: ArrayLike, y: ArrayLike) -> float:
    """Return linear centred kernel alignment of two representations of the same N items.

    |Y'X|^2 / (|X'X| |Y'Y|) of the centred matrices, Frobenius norms (Kornblith et al. 2019, eq. 3 and section
    3): 1 where they are equal up to rotation and scale, NaN where one of them is constant. It is large by
    chance if there are fewer items than features.

    Args:
        x: (N, A) features.
        y: (N, B) features.

    Raises:
        ValueError: the numbers of items differ.
    """
    left, right = (np.asarray(values, np.float64) for values in (x, y))
    if len(left) != len(right):
        raise ValueError(f"{len(left)} and {len(right)} items: CKA needs the same items on both sides")
    left, right = left - left.mean(axis=0), right - right.mean(axis=0)
    # Gram matrices give the same value and are smaller if there are fewer items than features.
    if len(left) < max(left.shape[1], right.shape[1]):
        k, l = left @ left.T, right @ right.T  # noqa: E741  # as in the paper
        cross, scale = float((k * l).sum()), float(np.linalg.norm(k) * np.linalg.norm(l))
    else:
        cross = float(np.square(right.T @ left).sum())
        scale = float(np.linalg.norm(left.T @ left) * np.linalg.norm(right.T @ right))
    return cross / scale if scale > 0 else float("nan")
