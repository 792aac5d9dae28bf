"""Test that neighbours are those of scikit-learn by cosine similarity, in order, with ties by index."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from braindino.analysis import neighbours
from braindino.analysis.neighbours import nearest, neighbour_mean


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "QUERY_BATCH", 7)


def test_nearest_and_neighbour_mean_equal_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    bank, queries = rng.standard_normal((60, 8)), rng.standard_normal((30, 8))
    expected = NearestNeighbors(n_neighbors=9, metric="cosine").fit(bank).kneighbors(queries)[1]
    assert (nearest(bank, queries, 9) == expected).all()
    labels = rng.integers(0, 3, 60)
    model = KNeighborsClassifier(9, metric="cosine").fit(bank, labels)
    shares = neighbour_mean(bank, np.eye(3)[labels], queries, 9)
    np.testing.assert_allclose(shares, model.predict_proba(queries), atol=1e-12)
    values = rng.standard_normal(60)
    np.testing.assert_allclose(neighbour_mean(bank, values, queries, 9), values[expected].mean(axis=1))


def test_nearest_ignores_length_and_breaks_ties_by_index() -> None:
    bank = np.array([[0, 1], [1, 0], [5, 0], [3, 3]])
    assert nearest(bank, [[9, 0]], 3).tolist() == [[1, 2, 3]]
    assert nearest(bank, [[0, 0.1]], 9).tolist() == [[0, 3, 1, 2]]  # at most all rows
    assert nearest(bank, [[0, 0]], 2).shape == (1, 2)
