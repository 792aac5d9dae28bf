"""Heads: losses against closed forms in float64, rows that predictions.csv takes."""

import numpy as np
import pandas as pd
import pytest
import torch

from braindino.analysis.predictions import class_names
from braindino.errors import BraindinoError
from braindino.probing import ClassificationHead, DaysHead, RegressionHead

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


def test_regression_head_standardises_by_the_training_part():
    train = torch.tensor([60.0, 70.0, 80.0])
    head = built(RegressionHead(), train)
    output = torch.tensor([[0.5], [-1.0]])
    target = torch.tensor([75.0, 60.0])
    spread = np.std([60, 70, 80])
    expected = np.mean([(0.5 - 5 / spread) ** 2, (-1 + 10 / spread) ** 2])
    assert head.loss(output, target).item() == pytest.approx(expected, rel=1e-6)
    rows = head.rows(output, pd.DataFrame({"target": [75.0, 60.1]}))
    assert rows["prediction"].tolist() == pytest.approx([70 + 0.5 * spread, 70 - spread])
    assert rows["target"].tolist() == [75.0, 60.1]
    errors = [5 - 0.5 * spread, spread - 10]
    assert head.metrics(output, target)["mae"] == pytest.approx(np.abs(errors).mean())


def test_regression_head_with_a_constant_target():
    head = built(RegressionHead(), torch.tensor([65.0, 65.0]))
    assert torch.isfinite(head.loss(torch.zeros(2, 1), torch.tensor([65.0, 66.0])))


@pytest.mark.parametrize(
    ("head", "classes", "target", "words"),
    [
        (ClassificationHead(), (), [1.0], "use RegressionHead"),
        (RegressionHead(), CLASSES, [1], "Use ClassificationHead"),
        (RegressionHead(), (), [np.nan], "case a: the target is nan"),
    ],
)
def test_heads_refuse_targets_of_the_wrong_kind(head, classes, target, words):
    with pytest.raises(BraindinoError, match=words):
        head.encode(pd.DataFrame({"case": ["a"], "target": target}), classes)


def test_days_head_learns_on_the_log_scale():
    train = torch.tensor([0.0, 10.0, 100.0])
    head = built(DaysHead(), train)
    output, days = torch.tensor([[0.5], [-2.0], [-9.0]]), torch.tensor([30.0, 700.0, 2.0])
    error = np.log1p(train.numpy()).mean() + output.numpy()[:, 0] - np.log1p(days.numpy())
    huber = np.where(np.abs(error) < 1, error**2 / 2, np.abs(error) - 0.5)
    expected = 0.2 * (error**2).mean() + 0.8 * (0.5 * np.abs(error).mean() + 0.5 * huber.mean())
    assert head.loss(output, days).item() == pytest.approx(expected, rel=1e-5)
    rows = head.rows(output, pd.DataFrame({"target": days}))
    mean = np.log1p([0, 10, 100]).mean()
    assert rows["prediction"].tolist() == pytest.approx(
        [np.expm1(mean + 0.5), np.expm1(mean - 2), 0], rel=1e-5
    )
    assert head.metrics(output, days)["mae"] == pytest.approx(
        np.abs(rows["prediction"] - days.numpy()).mean()
    )


def test_days_head_refuses_days_below_zero():
    with pytest.raises(BraindinoError, match=r"case b: -1\.0 days"):
        DaysHead().encode(pd.DataFrame({"case": ["a", "b"], "target": [3.0, -1.0]}), ())
