"""Closed-form heads: what scikit-learn finds, in the study, over the same splits and files."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier

from braindino.errors import BraindinoError
from braindino.probing import (
    CoxNetHead,
    FrozenProbeModule,
    GatedAttentionPooling,
    KNNHead,
    LogisticHead,
    Protocol,
    RidgeHead,
    results_table,
    run_study,
)

FAST = {"seeds": [0], "resamples": 100, "baselines": False}


def points(classes=3, count=60):
    rng = np.random.default_rng(0)
    target = np.arange(count) % classes
    return torch.tensor(rng.normal(size=(count, 6)) + 1.5 * np.eye(6)[target]).float(), torch.tensor(target)


def solved(head, x, y, classes=()):
    head.build(x.shape[1], y, classes)
    facts = head.solve(x, y, x, y)
    return facts, head(x).detach()


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_head_equals_scikit_learn(classes):
    x, y = points(classes)
    facts, output = solved(LogisticHead(strength=2.0), x, y, tuple("abc"[:classes]))
    expected = LogisticRegression(C=0.5, max_iter=5000).fit(x, y).predict_proba(x)
    assert facts == {"strength": 2.0}
    np.testing.assert_allclose(output.softmax(1), expected, atol=1e-3)


def test_logistic_head_does_not_predict_a_class_without_labelled_cases():
    x, y = points(2)
    _, output = solved(LogisticHead(class_weights="balanced"), x, y, ("a", "b", "c"))
    assert output.softmax(1)[:, 2].max() < 1e-6
    with pytest.raises(BraindinoError, match="one class"):
        solved(LogisticHead(), x, torch.zeros_like(y), ("a", "b"))


def test_ridge_head_equals_scikit_learn():
    x, y = points()
    y = y.float() * 10 + 50
    head = RidgeHead(strength=3.0)
    _, output = solved(head, x, y)
    expected = Ridge(alpha=3.0).fit(x.double(), y.double()).predict(x.double())
    np.testing.assert_allclose(head.in_units(output), expected, rtol=1e-4)


@pytest.mark.parametrize("k", [1, 5, 50])
def test_knn_head_equals_scikit_learn(k):
    x, y = points()
    _, output = solved(KNNHead(k), x, y, ("a", "b", "c"))
    expected = KNeighborsClassifier(k, metric="cosine").fit(x, y).predict_proba(x)
    np.testing.assert_allclose(output.softmax(1), expected, atol=1e-6)


def test_knn_head_with_more_neighbours_than_cases():
    x, y = points(count=6)
    facts, output = solved(KNNHead(50), x, y, ("a", "b", "c"))
    assert facts == {"k": 6}  # alone: nothing was chosen
    np.testing.assert_allclose(output.softmax(1), 1 / 3, atol=1e-6)
    with pytest.raises(BraindinoError, match="k 0"):
        KNNHead(0)


def test_closed_form_option_is_selected_on_validation():
    x, y = points()
    far = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
    head = KNNHead()
    head.build(6, y, ("a", "b", "c"))
    facts = head.solve(x, y, x, y)
    assert facts["k"] == 1  # each case is the nearest of itself
    assert list(facts["val/auroc"]) == ["1", "3", "5", "10", "20", "50"]
    assert facts["val/auroc"]["1"] == 1.0
    facts = head.solve(x + 0.5 * far, y, points(count=90)[0], points(count=90)[1])
    assert facts["k"] > 1
    assert facts["val/auroc"][str(facts["k"])] == max(facts["val/auroc"].values())


@pytest.mark.parametrize("head", [LogisticHead, RidgeHead, KNNHead, CoxNetHead])
def test_run_study_with_closed_form_heads(tmp_path, planted, planted_survival, encoder, make_trainer, head):
    metric, chance, expected_value, near = {
        LogisticHead: ("auroc", 0.5, 0.95, 0.1),
        KNNHead: ("auroc", 0.5, 0.9, 0.1),
        RidgeHead: ("pearson", 0.0, 0.7, 0.2),
        CoxNetHead: ("c_index", 0.5, 0.7, 0.1),
    }[head]

    def run(name, order=None):
        options = {"regression": True} if head is RidgeHead else {}
        data = planted_survival() if head is CoxNetHead else planted(people=150, **options)
        if order is not None:
            for column in {"target", "days", "died"} & set(data.cases):
                data.cases[column] = data.cases[column].to_numpy()[order]
        module = FrozenProbeModule("tiny", head())
        return run_study(module, data, Protocol(**FAST), make_trainer, tmp_path / name, encoder)

    results = run("first")
    run("second")
    first, second = ((tmp_path / name / "predictions.csv").read_bytes() for name in ("first", "second"))
    assert first == second
    assert results["summary"][0]["test"]["metrics"][metric]["value"] > expected_value
    printed, chosen = results_table(results), results["cells"][0]["chosen"]
    assert f"test/{metric}" in printed
    if head is CoxNetHead:
        assert chosen["alpha"] > 0
    else:
        (name, option), (tried, values) = chosen.items()
        assert f"{tried} by {name}: {min(values, key=float)} " in printed
        assert f"; chosen: {option:g}." in printed
    # With thirty test cases one order in ten excludes chance by luck; the mean of several does not.
    orders = [np.random.default_rng(seed).permutation(150) for seed in range(8)]
    shuffled = [run(f"shuffled{index}", order) for index, order in enumerate(orders)]
    values = [each["summary"][0]["test"]["metrics"][metric]["value"] for each in shuffled]
    assert np.mean(values) == pytest.approx(chance, abs=near)


def test_closed_form_refuses_a_pooling_with_parameters(tmp_path, planted, encoder, make_trainer):
    module = FrozenProbeModule("tiny", LogisticHead(), GatedAttentionPooling(4))
    with pytest.raises(BraindinoError, match="GatedAttentionPooling with these options has parameters"):
        run_study(module, planted(), Protocol(**FAST), make_trainer, tmp_path / "run", encoder)
