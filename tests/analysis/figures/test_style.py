"""Figures say what the numbers say, are the same each time, and take any text from data as it is."""

import base64
import re

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from braindino.analysis.figures.classification import (
    GRID,
    calibration_figure,
    confusion_figure,
    mean_auroc,
    roc,
    roc_figure,
)
from braindino.analysis.figures.regression import scatter_figure
from braindino.analysis.figures.style import baseline_style, literal
from braindino.analysis.figures.survival import kaplan_meier_figure
from braindino.analysis.metrics.survival import kaplan_meier_by_risk
from braindino.analysis.predictions import class_names
from tests.helpers.predictions import classification, regression, survival


def svg_of(source):
    return base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()


@pytest.mark.parametrize("digits", [9, 1])
def test_the_area_below_a_curve_is_the_auroc(digits):
    rng = np.random.default_rng(0)
    positive = np.arange(300) % 3 == 0
    score = np.round(rng.normal(size=300) + positive, digits)
    curve = roc(positive, score)
    assert np.trapezoid(curve, GRID) == pytest.approx(roc_auc_score(positive, score), abs=0.004)
    assert curve[-1] == 1
    assert (np.diff(curve) >= 0).all()
    assert roc(np.ones(3, dtype=bool), np.arange(3.0)) is None


def test_mean_auroc_is_that_of_the_table():
    tables = [classification(seed=seed).query("split == 'test'") for seed in range(3)]
    name = class_names(tables[0])[1]
    answers = [
        ((table["target"] == name).to_numpy(), table[f"prob_{name}"].to_numpy(float)) for table in tables
    ]
    expected = np.mean([roc_auc_score(true, score) for true, score in answers])
    assert mean_auroc(answers) == pytest.approx(expected, abs=1e-12)


def test_baselines_differ_in_dashes_and_markers():
    styles = [baseline_style(index) for index in range(3)]
    assert len({style["linestyle"] for style in styles}) == 3
    assert len({style["marker"] for style in styles}) == 3
    assert all(style["linestyle"] != "-" for style in styles)


def test_figures_repeat_and_take_any_text():
    odd = "$x_{y$ <b> \n & a name that is far too long for a legend"
    test = classification().query("split == 'test'")
    made = [roc_figure({odd: [test]}), calibration_figure({odd: [test]})]
    made.append(confusion_figure({odd: np.ones((2, 2))}, ("a$b$", "<script>")))
    assert made[0] == roc_figure({odd: [test]})
    assert all("<script" not in svg_of(source) for source in made)
    assert literal(odd) == "$x_{y$ <b> & a name that is…"


def test_many_points_are_drawn_as_one_picture():
    table = regression(cases=9000).query("split == 'test'")
    source = scatter_figure({"many": [table]}, {"many": (0.7, 20.0)}, "years")
    assert len(source) < 300_000
    assert re.search(r'href="data:image/png;base64', svg_of(source))


def test_survival_without_events_or_groups_is_drawn():
    table = survival().assign(event=0, risk=0.0)
    test, train = (table.query(f"split == '{part}'") for part in ("test", "train"))
    assert "<svg" in svg_of(kaplan_meier_figure({"none": kaplan_meier_by_risk(test, train)}, ""))
