"""The plane: groups stay together, the picture tells who is who, and wrong input is named."""

import sys

import numpy as np
import pandas as pd
import pytest

from braindino.analysis.figures.feature_space import cka_figure, space_figure
from braindino.analysis.projection import project


def groups() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 15)
    return rng.standard_normal((45, 60)) + 6 * np.eye(60)[labels], labels


@pytest.mark.parametrize("method", ["tsne", "pca"])
def test_groups_stay_together(method: str) -> None:
    features, labels = groups()
    points = project(features, method, seed=3)  # type: ignore[arg-type]
    assert points.shape == (45, 2)
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (labels[distance.argmin(axis=1)] == labels).mean() > 0.95
    np.testing.assert_array_equal(points, project(features, method, seed=3))  # type: ignore[arg-type]


def test_umap_keeps_groups_together() -> None:
    pytest.importorskip("umap", reason="the extra `umap`")
    features, labels = groups()
    points = project(features, "umap", neighbours=10)
    assert points.shape == (len(features), 2)
    centres = np.stack([points[labels == label].mean(axis=0) for label in np.unique(labels)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(axis=1)
    assert (np.unique(labels)[nearest] == labels).all()


def test_umap_without_its_package_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    monkeypatch.setattr("braindino.analysis.projection.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'braindino\[umap\]'"):
        project(groups()[0], "umap")
    with pytest.raises(ValueError, match="at least five"):
        project(np.ones((3, 2)), "tsne")


def test_the_legend_counts_and_blank_cells_are_grey() -> None:
    points = np.random.default_rng(0).random((30, 2))
    column = pd.Series(["AD"] * 12 + ["CN"] * 15 + ["", np.nan, "n"], name="diagnosis")
    figure = space_figure(points, column, "t", "t-SNE")
    legend = figure.axes[0].get_legend()
    assert legend is not None
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == ["unknown", "AD (12)", "CN (15)", "n (1)"]
    scaled = space_figure(points, pd.Series(np.linspace(20, 80, 30), name="age"), "t", "t-SNE")
    assert scaled.axes[1].get_ylabel() == "age"
    with pytest.raises(ValueError, match="30 different values"):
        space_figure(points, pd.Series([f"s{i}" for i in range(30)], name="subject"), "t", "t-SNE")


def test_the_table_of_cka_tells_its_numbers() -> None:
    figure = cka_figure(np.array([[1, 0.25], [0.25, 1]]), ["one", "other"], 40)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["1.00", "0.25", "0.25", "1.00"]
    assert "40 items" in figure.axes[0].get_title()
