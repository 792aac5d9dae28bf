"""How alike features are: cosine similarity of tokens, and linear CKA between whole representations."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def cosine_to(tokens: ArrayLike, reference: ArrayLike) -> NDArray[np.float32]:
    """Cosine similarity of tokens (..., D) to references that broadcast against them: (...)."""
    given, other = np.asarray(tokens, np.float32), np.asarray(reference, np.float32)
    norms = np.linalg.norm(given, axis=-1) * np.linalg.norm(other, axis=-1)
    return (given * other).sum(axis=-1) / np.maximum(norms, 1e-12)


def linear_cka(x: ArrayLike, y: ArrayLike) -> float:
    """Linear centred kernel alignment of two representations (N, A) and (N, B) of the same N items.

    |Y'X|^2 / (|X'X| |Y'Y|) of the centred matrices, Frobenius norms (Kornblith et al. 2019, eq. 3 and section
    3): 1 where they are equal up to rotation and scale. NaN where one of them is constant. Few items for many
    features make it large by chance.

    Raises:
        ValueError: another number of items.
    """
    one, other = (np.asarray(values, np.float64) for values in (x, y))
    if len(one) != len(other):
        raise ValueError(f"{len(one)} and {len(other)} items: CKA needs the same items on both sides")
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    if len(one) < max(one.shape[1], other.shape[1]):  # the same by the Gram matrices, which are smaller then
        k, l = one @ one.T, other @ other.T  # noqa: E741  # as in the paper
        cross, scale = float((k * l).sum()), float(np.linalg.norm(k) * np.linalg.norm(l))
    else:
        cross = float(np.square(other.T @ one).sum())
        scale = float(np.linalg.norm(one.T @ one) * np.linalg.norm(other.T @ other))
    return cross / scale if scale > 0 else float("nan")
