"""Nearest neighbours by cosine similarity: of features (N, D), whoever made them."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

QUERIES_AT_ONCE = 2048
NEIGHBOURS = (1, 3, 5, 10, 20, 50)  # the numbers that BrainDINO's code tries


def nearest(bank: ArrayLike, queries: ArrayLike, k: int) -> NDArray[np.int64]:
    """(Q, k) rows of `bank` (N, D) with the highest cosine similarity to each of `queries` (Q, D).

    The nearest comes first, of equals the one with the lower number; k is at most N. A vector of zeros is
    similar to nothing.
    """
    known, asked = _unit(bank), _unit(queries)
    k = min(k, len(known))
    found = np.empty((len(asked), k), np.int64)
    for start in range(0, len(asked), QUERIES_AT_ONCE):
        similarity = asked[start : start + QUERIES_AT_ONCE] @ known.T
        if k < len(known):
            chosen = np.sort(np.argpartition(-similarity, k - 1, axis=1)[:, :k], axis=1)
        else:
            chosen = np.broadcast_to(np.arange(k), similarity.shape)
        order = np.argsort(-np.take_along_axis(similarity, chosen, axis=1), axis=1, kind="stable")
        found[start : start + QUERIES_AT_ONCE] = np.take_along_axis(chosen, order, axis=1)
    return found


def neighbour_mean(bank: ArrayLike, values: ArrayLike, queries: ArrayLike, k: int) -> NDArray[np.float64]:
    """Mean of the `values` (N, ...) of the k nearest in `bank` (N, D) to each of `queries` (Q, D): (Q, ...).

    Of one-hot classes that is the share of votes of each class.
    """
    return np.asarray(values, np.float64)[nearest(bank, queries, k)].mean(axis=1)


def _unit(vectors: ArrayLike) -> NDArray[np.float32]:
    values = np.asarray(vectors, np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
