"""The survival head: Cox loss against a slow closed form and scikit-survival; the study end to end."""

import numpy as np
import pandas as pd
import pytest
import torch
from sksurv.linear_model import CoxPHSurvivalAnalysis
from sksurv.util import Surv

from braindino.analysis.predictions import read_predictions
from braindino.errors import BraindinoError
from braindino.probing import FrozenProbeModule, Protocol, SurvivalHead, results_table, run_study
from braindino.probing.heads.cox_net import fit_cox_net
from braindino.probing.heads.survival import cox_loss

FAST = {"max_epochs": 40, "patience": 15, "resamples": 100}


def slow_loss(risk, time, event, ties):
    total = 0.0
    for at in sorted(set(time[event])):
        dead = event & (time == at)
        exposed = np.exp(risk[time >= at]).sum()
        for place in range(dead.sum()):
            tied = np.exp(risk[dead]).sum() * place / dead.sum() if ties == "efron" else 0.0
            total += np.log(exposed - tied)
        total -= risk[dead].sum()
    return total / event.sum()


def sample(count=40, seed=0):
    rng = np.random.default_rng(seed)
    time = rng.integers(1, 10, size=count).astype(float)
    return rng.normal(size=count), time, rng.random(count) < 0.6


@pytest.mark.parametrize("ties", ["efron", "breslow"])
@pytest.mark.parametrize("seed", range(3))
def test_cox_loss_with_ties_and_censoring(ties, seed):
    risk, time, event = sample(seed=seed)
    leaf = torch.tensor(risk, requires_grad=True)
    loss = cox_loss(leaf, torch.tensor(time), torch.tensor(event), ties)
    assert loss.item() == pytest.approx(slow_loss(risk, time, event, ties), rel=1e-12)
    loss.backward()
    step = 1e-6 * np.eye(len(risk))[7]
    slope = (slow_loss(risk + step, time, event, ties) - slow_loss(risk - step, time, event, ties)) / 2e-6
    assert leaf.grad[7].item() == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_cox_loss_is_least_at_the_coefficients_of_scikit_survival(ties):
    _, time, event = sample(60, 4)
    x = np.random.default_rng(1).normal(size=(60, 2))
    model = CoxPHSurvivalAnalysis(ties=ties, tol=1e-14).fit(x, Surv.from_arrays(event, time))
    weight = torch.tensor(model.coef_, requires_grad=True)
    cox_loss(torch.tensor(x) @ weight, torch.tensor(time), torch.tensor(event), ties).backward()
    assert weight.grad.abs().max() < 1e-7


def test_cox_loss_and_gradient_are_zero_without_events():
    risk = torch.randn(5, 1, requires_grad=True)
    target = torch.tensor([[3.0, 0], [1, 0], [2, 0], [9, 0], [9, 0]], dtype=torch.float64)
    loss = SurvivalHead().loss(risk, target)
    loss.backward()
    assert loss.item() == 0
    assert (risk.grad == 0).all()


def test_cox_loss_is_finite_for_risks_of_any_size():
    risk = torch.tensor([2000.0, -2000.0, 0.0, 1.0], dtype=torch.float64, requires_grad=True)
    event = torch.tensor([True, True, True, True])
    loss = cox_loss(risk, torch.tensor([4.0, 1.0, 2.0, 2.0]), event)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(risk.grad).all()


def test_cox_loss_counts_censored_patients():
    risk = torch.tensor([0.0, 3.0], dtype=torch.float64)
    both = cox_loss(risk, torch.tensor([1.0, 2.0]), torch.tensor([True, False]))
    assert both.item() == pytest.approx(np.log(1 + np.exp(3)))


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        ({"case": ["a"], "target": [1.0]}, r"target: \[time, event\]"),
        ({"case": ["a", "b"], "time": [1.0, np.nan], "event": [1, 1]}, "case b: time nan"),
        ({"case": ["a"], "time": [1.0], "event": [2]}, "event of 0"),
    ],
)
def test_survival_head_refuses_unusable_targets(cases, words):
    with pytest.raises(BraindinoError, match=words):
        SurvivalHead().encode(pd.DataFrame(cases), ())


def test_survival_head_refuses_labelled_cases_without_events():
    with pytest.raises(BraindinoError, match="none of the 2 labelled cases has an event"):
        SurvivalHead().build(4, torch.tensor([[1.0, 0], [2.0, 0]]), ())
    cases = pd.DataFrame({"time": [1.0, 2.0], "event": [0, 0]})
    with pytest.raises(BraindinoError, match="larger fraction"):
        fit_cox_net(np.ones((2, 1)), cases, np.ones((2, 1)), cases)


def test_fit_cox_net_ignores_constant_features():
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=80), np.ones(80)])
    cases = pd.DataFrame({"time": np.exp(-x[:, 0] + rng.normal(size=80)), "event": 1})
    fitted = fit_cox_net(x, cases, x, cases)
    assert fitted.coefficients[0] > 0.2
    assert fitted.coefficients[1] == 0
    assert fit_cox_net(x[:, 1:], cases, x[:, 1:], cases).alpha is None


def run(data, folder, encoder, make_trainer, **options):
    module = FrozenProbeModule("tiny", SurvivalHead(), lr=1e-2)
    return run_study(
        module, data, Protocol(**{"seeds": [0], **FAST, **options}), make_trainer, folder, encoder
    )


def test_survival_head_learns_a_planted_risk(tmp_path, planted_survival, encoder, make_trainer):
    data = planted_survival()
    results = run(data, tmp_path / "run", encoder, make_trainer, fractions=[0.5, 1.0])
    metrics = results["summary"][1]["test"]["metrics"]
    assert metrics["c_index"]["value"] > 0.7
    assert metrics["c_index_ipcw"]["value"] > 0.7
    assert metrics["td_auc"]["value"] > 0.7
    assert 0 < metrics["integrated_brier"]["value"] < 0.25
    table = read_predictions(tmp_path / "run" / "predictions.csv").query("fraction == 1")
    assert table["split"].value_counts().to_dict() == {"train": 90, "val": 30, "test": 30}
    assert 0.1 < (table["event"] == 0).mean() < 0.6
    threshold = table.loc[table["split"] == "train", "risk"].median()
    curves = results["cells"][1]["kaplan_meier"]
    assert curves["threshold"] == threshold
    assert curves["logrank"]["p"] < 0.05
    assert list(results["baselines"]) == ["age_sex_site"]
    assert results["baselines"]["age_sex_site"]["advantage"][1]["beaten"]
    assert results["summary"][0]["train_cases"] == [45]
    assert "test/c_index_ipcw" in results_table(results)


def test_survival_head_is_at_chance_on_shuffled_times(tmp_path, planted_survival, encoder, make_trainer):
    for name in ("first", "second"):
        data = planted_survival(shuffled=True)
        results = run(data, tmp_path / name, encoder, make_trainer, baselines=False)
    numbers = results["summary"][0]["test"]["metrics"]["c_index"]
    assert numbers["low"] < 0.5 < numbers["high"]
    first, second = (
        {p.name: p.read_bytes() for p in (tmp_path / name).iterdir() if p.is_file()}
        for name in ("first", "second")
    )
    assert first == second
