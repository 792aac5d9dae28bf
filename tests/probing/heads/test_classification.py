"""Test ClassificationHead: its loss in float64, and its rows of predictions.csv."""

import numpy as np
import pandas as pd
import pytest
import torch

from braindino.analysis.predictions import class_names
from braindino.errors import BraindinoError
from braindino.probing import ClassificationHead

CLASSES = ("CN", "MCI", "AD")


def built(head, target, classes=()):
    torch.manual_seed(0)
    head.build(8, target, classes)
    return head


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("weights", "expected"),
    [(None, (1, 1, 1)), ("balanced", (7 / 12, 7 / 6, 7 / 3)), ([1.0, 2.0, 5.0], (1, 2, 5))],
)
def test_classification_head_weighs_the_cross_entropy(weights, expected):
    target = torch.tensor([0, 0, 0, 0, 1, 1, 2])
    head = built(ClassificationHead(weights), target, CLASSES)
    logits = np.random.default_rng(0).normal(size=(7, 3))
    weight = np.array(expected)[target.numpy()]
    entropy = -log_softmax(logits)[np.arange(7), target.numpy()]
    loss = head.loss(torch.tensor(logits, dtype=torch.float32), target)
    assert loss.item() == pytest.approx((weight * entropy).sum() / weight.sum(), rel=1e-6)


def test_classification_head_balances_with_a_class_without_training_cases():
    head = built(ClassificationHead("balanced"), torch.tensor([0, 0, 1]), CLASSES)
    assert torch.isfinite(head.weight).all()


def test_classification_head_refuses_weights_that_do_not_fit_the_classes():
    with pytest.raises(BraindinoError, match="2 numbers for 3 classes: CN, MCI, AD"):
        built(ClassificationHead([1.0, 2.0]), torch.tensor([0, 1, 2]), CLASSES)


def test_classification_head_rows():
    head = built(ClassificationHead(), torch.tensor([0, 1, 2]), CLASSES)
    cases = pd.DataFrame({"target": [2, 0]})
    rows = head.rows(torch.tensor([[0.0, 0.0, 40.0], [1.0, 2.0, 0.0]]), cases)
    assert class_names(rows) == CLASSES
    assert rows["target"].tolist() == ["AD", "CN"]
    assert rows["prediction"].tolist() == ["AD", "MCI"]
    assert rows.loc[0, "prob_CN"] > 0  # not rounded to nothing: confident cases keep their order
    assert rows[["prob_CN", "prob_MCI", "prob_AD"]].sum(axis=1).tolist() == pytest.approx([1, 1], abs=1e-12)


def test_classification_head_refuses_numbers():
    with pytest.raises(BraindinoError, match="use RegressionHead"):
        ClassificationHead().encode(pd.DataFrame({"case": ["a"], "target": [1.0]}), ())
