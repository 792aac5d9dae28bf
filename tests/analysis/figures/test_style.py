"""Test that figures are reproducible, show any text from data, and draw baselines differently."""

import numpy as np

from braindino.analysis.figures.classification import (
    calibration_figure,
    confusion_figure,
    roc_figure,
)
from braindino.analysis.figures.style import baseline_style, literal
from tests.helpers.data_uris import decode_svg
from tests.helpers.predictions import classification


def test_baseline_style_differs_in_dashes_and_markers():
    styles = [baseline_style(index) for index in range(3)]
    assert len({style["linestyle"] for style in styles}) == 3
    assert len({style["marker"] for style in styles}) == 3
    assert all(style["linestyle"] != "-" for style in styles)


def test_figures_are_reproducible_and_show_any_text():
    odd = "$x_{y$ <b> \n & a name that is far too long for a legend"
    test = classification().query("split == 'test'")
    made = [roc_figure({odd: [test]}), calibration_figure({odd: [test]})]
    made.append(confusion_figure({odd: np.ones((2, 2))}, ("a$b$", "<script>")))
    assert made[0] == roc_figure({odd: [test]})
    assert all("<script" not in decode_svg(source) for source in made)
    assert literal(odd) == "$x_{y$ <b> & a name that is…"
