"""Test that projections keep groups together and name wrong input."""

import sys

import numpy as np
import pytest

from braindino.analysis.projection import project


def groups() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 15)
    return rng.standard_normal((45, 60)) + 6 * np.eye(60)[labels], labels


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_project_keeps_groups_together(method: str) -> None:
    features, labels = groups()
    points = project(features, method, seed=3)  # type: ignore[arg-type]
    assert points.shape == (45, 2)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (labels[distance.argmin(axis=1)] == labels).mean() > 0.95
    np.testing.assert_array_equal(points, project(features, method, seed=3))  # type: ignore[arg-type]


def test_project_by_umap_keeps_groups_together() -> None:
    pytest.importorskip("umap", reason="the extra `umap`")
    features, labels = groups()
    points = project(features, "umap", neighbours=10)
    assert points.shape == (len(features), 2)
    centres = np.stack([points[labels == label].mean(axis=0) for label in np.unique(labels)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    assert (np.unique(labels)[nearest] == labels).all()


def test_project_names_the_extra_of_umap_and_the_fewest_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr("braindino.analysis.projection.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'braindino\[umap\]'"):
        project(groups()[0], "umap")
    with pytest.raises(ValueError, match="at least five"):
        project(np.ones((3, 2)), "tsne")
