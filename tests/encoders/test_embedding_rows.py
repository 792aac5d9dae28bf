"""Rows of features: their ids, their order, and the pieces they are joined to."""

import numpy as np
import pandas as pd
import pytest

from braindino.encoders import embedding_rows
from braindino.encoders.embedding_rows import join_rows, scan_rows

SCAN = pd.DataFrame({"path": ["a.nii"], "subject": ["01"]}, index=[7])


def test_scan_rows_of_a_scan_is_the_mean_of_its_slices() -> None:
    features = np.arange(6, dtype=np.float16).reshape(3, 2)
    ids, values = scan_rows(SCAN, features, "scan", 1, (1, 1))
    assert ids is SCAN
    assert values.dtype == np.float32
    assert values.tolist() == [[2, 3]]


def test_scan_rows_of_slices_takes_every_so_many() -> None:
    features = np.arange(10.0).reshape(5, 2)
    ids, values = scan_rows(SCAN, features, "slice", 2, (1, 1))
    assert ids["slice"].tolist() == [0, 2, 4]
    assert ids["subject"].tolist() == ["01"] * 3
    assert values.tolist() == features[::2].tolist()


def test_scan_rows_of_patches_go_row_by_row() -> None:
    grid, width = (2, 3), 4
    tokens = np.random.default_rng(0).random((2, *grid, width))
    ids, values = scan_rows(SCAN, tokens.reshape(2, -1), "patch", 1, grid)
    assert values.shape == (12, width)
    for number, place in enumerate(ids[["slice", "row", "column"]].itertuples(index=False)):
        np.testing.assert_array_equal(values[number], tokens[tuple(place)])


def test_join_rows_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_rows, "ROWS_AT_ONCE", 3)
    parts = [(pd.DataFrame({"n": [i, i]}), np.full((2, 1), i)) for i in range(5)]
    joined = list(join_rows(parts))
    assert [len(ids) for ids, _ in joined] == [4, 4, 2]
    assert np.concatenate([ids["n"] for ids, _ in joined]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert np.concatenate([values for _, values in joined])[:, 0].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
