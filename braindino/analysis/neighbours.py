"""Find nearest neighbours of features by cosine similarity."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

QUERY_BATCH = 2048
NEIGHBOURS = (1, 3, 5, 10, 20, 50)  # the numbers of neighbours in BrainDINO's code


def nearest(bank: ArrayLike, queries: ArrayLike, k: int) -> NDArray[np.int64]:
    """Return the rows (Q, k) of a bank with the highest cosine similarity to each query.

    The nearest row comes first; of rows that are equally near, the one with the lower index. A vector of
    zeros has similarity 0 to all.

    Args:
        bank: (N, D).
        queries: (Q, D).
        k: number of rows per query; N if it is larger.
    """
    bank_unit, queries_unit = _unit(bank), _unit(queries)
    k = min(k, len(bank_unit))
    rows = np.empty((len(queries_unit), k), np.int64)
    for start in range(0, len(queries_unit), QUERY_BATCH):
        batch = slice(start, start + QUERY_BATCH)
        similarity = queries_unit[batch] @ bank_unit.T
        if k < len(bank_unit):
            chosen = np.sort(np.argpartition(-similarity, k - 1, axis=1)[:, :k], axis=1)
        else:
            chosen = np.broadcast_to(np.arange(k), similarity.shape)
        order = np.argsort(-np.take_along_axis(similarity, chosen, axis=1), axis=1, kind="stable")
        rows[batch] = np.take_along_axis(chosen, order, axis=1)
    return rows


def neighbour_mean(bank: ArrayLike, values: ArrayLike, queries: ArrayLike, k: int) -> NDArray[np.float64]:
    """Return the mean value (Q, ...) of the k nearest rows of each query.

    For one-hot classes it is the share of votes for each class.

    Args:
        bank: (N, D).
        values: (N, ...) of the rows of the bank.
        queries: (Q, D).
        k: number of rows per query.
    """
    mean: NDArray[np.float64] = np.asarray(values, np.float64)[nearest(bank, queries, k)].mean(axis=1)
    return mean


def _unit(vectors: ArrayLike) -> NDArray[np.float32]:
    """Return vectors of length 1."""
    values = np.asarray(vectors, np.float32)
    unit: NDArray[np.float32] = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    return unit
