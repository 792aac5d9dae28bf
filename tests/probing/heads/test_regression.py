"""Test RegressionHead and DaysHead: their losses in float64, and their rows of predictions.csv."""

import numpy as np
import pandas as pd
import pytest
import torch

from braindino.errors import BraindinoError
from braindino.probing import ClassificationHead, DaysHead, RegressionHead


def built(head, target):
    torch.manual_seed(0)
    head.build(8, target, ())
    return head


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
    ("classes", "target", "words"),
    [(("CN", "MCI", "AD"), [1], "Use ClassificationHead"), ((), [np.nan], "case a: the target is nan")],
)
def test_regression_head_refuses_classes_and_missing_numbers(classes, target, words):
    with pytest.raises(BraindinoError, match=words):
        RegressionHead().encode(pd.DataFrame({"case": ["a"], "target": target}), classes)


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


@pytest.mark.parametrize("head", [RegressionHead(), DaysHead(), ClassificationHead()])
def test_encode_refuses_a_time_and_an_event(head):
    cases = pd.DataFrame({"case": ["p1"], "time": [3.0], "event": [1]})
    classes = ("A", "B") if isinstance(head, ClassificationHead) else ()
    with pytest.raises(BraindinoError, match=r"predicts one target.*\n.*SurvivalHead"):
        head.encode(cases, classes)
