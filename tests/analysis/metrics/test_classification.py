"""Test classification metrics against scikit-learn: ties, absent classes, weights."""

import numpy as np
import pytest
from sklearn import metrics as sk

from braindino.analysis.metrics.classification import classification_metrics, confusion_matrix

NAMES = ("CN", "MCI", "AD")


def sample(cases=80, classes=3, seed=0, decimals=None):
    rng = np.random.default_rng(seed)
    target = np.r_[np.arange(classes), rng.integers(classes, size=cases - classes)]
    raw = rng.random((cases, classes)) + 0.5 * np.eye(classes)[target]
    if decimals is not None:  # coarse scores: many ties
        raw = np.round(raw, decimals) + 0.1
    return target, raw / raw.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("decimals", [None, 0, 1])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_classification_metrics_agree_with_scikit_learn(classes, decimals):
    target, probability = sample(classes=classes, decimals=decimals)
    names = [f"c{index}" for index in range(classes)]
    ours = {k: v.item() for k, v in classification_metrics(target, probability, names).items()}
    predicted = probability.argmax(axis=1)
    score = probability[:, 1] if classes == 2 else probability
    assert ours["auroc"] == pytest.approx(sk.roc_auc_score(target, score, multi_class="ovr"), abs=1e-12)
    assert ours["accuracy"] == pytest.approx(sk.accuracy_score(target, predicted))
    assert ours["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(target, predicted))
    assert ours["f1"] == pytest.approx(sk.f1_score(target, predicted, average="macro"))
    onehot = np.eye(classes)[target]
    squared = ((probability - onehot) ** 2).sum(axis=1).mean()
    if classes == 2:
        assert ours["brier"] == pytest.approx(sk.brier_score_loss(target, score))
    else:
        assert ours["brier"] == pytest.approx(squared)
    recalls = sk.recall_score(target, predicted, average=None)
    for index, name in enumerate(names):
        assert ours[f"sensitivity_{name}"] == pytest.approx(recalls[index])
        negative = sk.recall_score(target != index, predicted != index)
        assert ours[f"specificity_{name}"] == pytest.approx(negative)
    each = sk.f1_score(target, predicted, average=None, labels=range(classes), zero_division=0)
    for name, value in zip(names, each, strict=True):
        assert ours[f"f1_{name}"] == pytest.approx(value, abs=1e-12)
    if classes == 2:
        assert ours["f1_c1"] == pytest.approx(sk.f1_score(target, predicted), abs=1e-12)


def test_classification_metrics_weights_are_repeated_cases():
    target, probability = sample(decimals=1)
    weights = np.random.default_rng(1).integers(0, 4, size=(5, len(target)))
    ours = classification_metrics(target, probability, NAMES, weights=weights)
    for row, weight in enumerate(weights):
        repeated = np.repeat(np.arange(len(target)), weight)
        plain = classification_metrics(target[repeated], probability[repeated], NAMES)
        for name, value in plain.items():
            assert ours[name][row] == pytest.approx(value[0], abs=1e-12), name
        expected = sk.roc_auc_score(target, probability, multi_class="ovr", sample_weight=weight)
        assert ours["auroc"][row] == pytest.approx(expected, abs=1e-12)


def test_classification_metrics_exclude_a_class_without_cases_from_means():
    target, probability = sample()
    kept = target != 2
    target, probability = target[kept], probability[kept]
    ours = classification_metrics(target, probability, NAMES)
    each = [sk.roc_auc_score(target == index, probability[:, index]) for index in (0, 1)]
    assert ours["auroc"].item() == pytest.approx(np.mean(each))
    predicted = probability.argmax(axis=1)
    assert ours["f1"].item() == pytest.approx(
        sk.f1_score(target, predicted, average="macro", zero_division=0)
    )
    assert np.isnan(ours["sensitivity_AD"].item())


def test_classification_metrics_of_one_class_have_no_auroc():
    ours = classification_metrics([1, 1], [[0.2, 0.8], [0.6, 0.4]], ["no", "yes"])
    assert np.isnan(ours["auroc"].item())
    assert ours["accuracy"].item() == 0.5
    assert np.isnan(ours["specificity_yes"].item())


def test_classification_metrics_ece_matches_its_closed_form():
    # Confidences 0.75 and 0.95 fall in different bins: |1/2 - 0.75| * 2/3 + |1 - 0.95| * 1/3.
    probability = [[0.75, 0.25], [0.75, 0.25], [0.05, 0.95]]
    ours = classification_metrics([0, 1, 1], probability, ["no", "yes"])
    assert ours["ece"].item() == pytest.approx(0.25 * 2 / 3 + 0.05 / 3)


def test_confusion_matrix_has_the_truth_in_rows():
    counts = confusion_matrix([0, 0, 1], [1, 0, 1], 2)[0]
    assert counts.tolist() == [[1, 1], [0, 1]]


@pytest.mark.parametrize(
    ("target", "probability", "words"),
    [
        ([0, 1], [[0.5, 0.5]], "expected"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "must be 0 to 1"),
        ([], np.empty((0, 2)), "no cases"),
    ],
)
def test_classification_metrics_reject_wrong_arrays(target, probability, words):
    with pytest.raises(ValueError, match=words):
        classification_metrics(target, probability, ["a", "b"])
