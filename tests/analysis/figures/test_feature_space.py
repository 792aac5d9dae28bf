"""Test pictures of feature spaces and of CKA."""

import numpy as np
import pandas as pd
import pytest

from braindino.analysis.figures.feature_space import cka_figure, space_figure


def test_space_figure_legend_counts_and_blank_cells_are_unknown() -> None:
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


def test_cka_figure_shows_its_numbers() -> None:
    figure = cka_figure(np.array([[1, 0.25], [0.25, 1]]), ["one", "other"], 40)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["1.00", "0.25", "0.25", "1.00"]
    assert "40 items" in figure.axes[0].get_title()
