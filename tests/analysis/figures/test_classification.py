"""Test that ROC curves and their AUROC agree with scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from braindino.analysis.figures.classification import GRID, mean_auroc, roc
from braindino.analysis.predictions import class_names
from tests.helpers.predictions import classification


@pytest.mark.parametrize("digits", [9, 1])
def test_roc_area_is_the_auroc(digits):
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
    scores = [
        ((table["target"] == name).to_numpy(), table[f"prob_{name}"].to_numpy(float)) for table in tables
    ]
    expected = np.mean([roc_auc_score(true, score) for true, score in scores])
    assert mean_auroc(scores) == pytest.approx(expected, abs=1e-12)
