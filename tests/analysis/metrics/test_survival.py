"""Test survival metrics against scikit-survival, with ties and censoring, and weights against copies."""

import numpy as np
import pandas as pd
import pytest
from sksurv.compare import compare_survival
from sksurv.linear_model.coxph import BreslowEstimator
from sksurv.metrics import (
    concordance_index_censored,
    concordance_index_ipcw,
    cumulative_dynamic_auc,
    integrated_brier_score,
)
from sksurv.util import Surv

from braindino.analysis.metrics.estimates import compare_estimates, estimate
from braindino.analysis.metrics.survival import kaplan_meier_by_risk, logrank, survival_metrics


def sample(count, seed, effect=1.0):
    """Times in whole months, so with ties; a third is censored; risks with ties."""
    rng = np.random.default_rng(seed)
    risk = np.round(rng.normal(size=count), 1)
    time = np.ceil(rng.exponential(12 * np.exp(-effect * risk)))
    limit = np.ceil(rng.uniform(5, 60, size=count))
    return pd.DataFrame({"risk": risk, "time": np.minimum(time, limit), "event": (time <= limit).astype(int)})


def arrays(table):
    return Surv.from_arrays(table["event"] == 1, table["time"])


@pytest.mark.parametrize("seed", range(3))
def test_survival_metrics_agree_with_scikit_survival(seed):
    train, test = sample(200, seed), sample(80, seed + 10)
    metrics = {name: value[0] for name, value in survival_metrics(test, train).items()}
    deciles = np.unique(np.quantile(train.loc[train["event"] == 1, "time"], np.arange(1, 10) / 10))
    times = deciles[(deciles >= test["time"].min()) & (deciles < test["time"].max())]
    risk = test["risk"].to_numpy()
    assert metrics["c_index"] == pytest.approx(
        concordance_index_censored(test["event"] == 1, test["time"], risk)[0], abs=1e-12
    )
    uno = concordance_index_ipcw(arrays(train), arrays(test), risk, tau=times[-1])[0]
    assert metrics["c_index_ipcw"] == pytest.approx(uno, abs=1e-12)
    # Cases beyond the training follow-up have no weight in scikit-survival; here they count as alive.
    inside = test[test["time"] < train["time"].max()]
    metrics = {name: value[0] for name, value in survival_metrics(inside, train).items()}
    times = deciles[(deciles >= inside["time"].min()) & (deciles < inside["time"].max())]
    auc = cumulative_dynamic_auc(arrays(train), arrays(inside), inside["risk"].to_numpy(), times)[1]
    assert metrics["td_auc"] == pytest.approx(auc, abs=1e-12)
    breslow = BreslowEstimator().fit(train["risk"].to_numpy(), train["event"] == 1, train["time"].to_numpy())
    curves = breslow.get_survival_function(inside["risk"].to_numpy())
    survival = np.array([curve(times) for curve in curves])
    brier = integrated_brier_score(arrays(train), arrays(inside), survival, times)
    assert metrics["integrated_brier"] == pytest.approx(brier, abs=1e-12)


def test_survival_metrics_weights_are_copies():
    train, test = sample(100, 1), sample(40, 2)
    weights = np.random.default_rng(0).integers(0, 3, size=(2, 40))
    for row in range(2):
        copies = test.loc[np.repeat(test.index, weights[row])]
        # the longest follow-up stays, so that the horizons are the same
        weights[row, int(test["time"].argmax())] = max(1, weights[row, int(test["time"].argmax())])
        weights[row, int(test["time"].argmin())] = max(1, weights[row, int(test["time"].argmin())])
        copies = test.loc[np.repeat(test.index, weights[row])]
        once = survival_metrics(copies, train)
        many = survival_metrics(test, train, weights)
        for name, value in once.items():
            assert value[0] == pytest.approx(many[name][row], abs=1e-12)


def test_survival_metrics_without_events_are_undefined():
    test = sample(20, 0).assign(event=0)
    assert np.isnan(survival_metrics(test)["c_index"][0])
    assert all(np.isnan(value[0]) for value in survival_metrics(test, test).values())


def test_survival_metrics_are_finite_for_large_risks():
    train, test = sample(60, 0), sample(40, 1)
    values = survival_metrics(test.assign(risk=test["risk"] * 1e4), train)
    assert all(np.isfinite(value[0]) for value in values.values())


def test_kaplan_meier_by_risk_splits_at_the_training_median():
    train, test = sample(61, 0), sample(80, 1)
    results = kaplan_meier_by_risk(test, train)
    high = test["risk"] > np.median(train["risk"])
    assert results["threshold"] == np.median(train["risk"])
    assert results["groups"]["high"]["cases"] == high.sum()
    assert results["groups"]["low"]["cases"] == (~high).sum()
    assert results["groups"]["low"]["at_risk"][0] == (~high).sum()
    assert results["groups"]["high"]["at_risk"][-1] == (test[high]["time"] >= test["time"].max()).sum()
    assert results["logrank"]["p"] == pytest.approx(compare_survival(arrays(test), high)[1])
    assert results["logrank"]["p"] < 1e-4
    first = results["groups"]["high"]
    at = (test[high]["time"] <= first["time"][0]) & (test[high]["event"] == 1)
    assert first["survival"][0] == pytest.approx(1 - at.sum() / high.sum())


def test_kaplan_meier_by_risk_of_an_empty_group_has_no_test():
    test = sample(20, 0)
    results = kaplan_meier_by_risk(test, test.assign(risk=99.0))
    assert results["logrank"] is None
    assert results["groups"]["high"] == {
        "cases": 0,
        "events": 0,
        "time": [],
        "survival": [],
        "at_risk": [0] * 6,
    }


def predictions(count, seed, effect=1.0):
    table = sample(count, seed, effect)
    names = [f"p{index:03d}" for index in range(count)]
    return table.assign(case=names, group=names, split="test", seed=0, fraction=1.0)


def test_estimate_of_survival_has_intervals():
    train, test = sample(150, 3), predictions(100, 4)
    results = estimate([test], resamples=300, train=[train])
    for name in ("c_index", "c_index_ipcw", "integrated_brier", "td_auc"):
        numbers = results["metrics"][name]
        assert numbers["low"] < numbers["value"] < numbers["high"]
    noise = test.assign(risk=np.random.default_rng(1).normal(size=100))
    assert compare_estimates([test], [noise], 300)["c_index"]["low"] > 0


def test_estimate_redraws_draws_without_an_event():
    test = predictions(12, 4).assign(event=[1] + [0] * 11, time=np.arange(12.0) + 1)
    results = estimate([test], resamples=200)
    assert results["redrawn"] > 30
    assert results["metrics"]["c_index"]["low"] is None  # one person has all the events


def test_logrank_agrees_with_scikit_survival_or_returns_a_reason():
    table = sample(60, 3)
    time, event = table["time"].to_numpy(), table["event"].to_numpy() == 1
    high = table["risk"].to_numpy() > 0
    statistic, p = compare_survival(arrays(table), high)
    assert logrank(time, event, high)[0] == {"statistic": pytest.approx(statistic), "p": pytest.approx(p)}
    one, both = np.array([1.0, 2, 3, 9]), np.array([False, True, False, True])
    for times, events, reason in (
        (one, [0, 0, 0, 1], "at no event are both groups still under observation"),
        (np.full(4, 7.0), [1, 1, 1, 1], "no case is at risk after an event"),
        (one, [0, 0, 0, 0], "no event"),
    ):
        assert logrank(times, np.array(events) == 1, both) == (None, reason)
    for group in (both | True, both & False):
        result, reason = logrank(one, np.array([True, False, True, False]), group)
        assert result is None
        assert "all cases are in the group" in reason
    assert logrank(np.full(4, 7.0), np.array([True, True, True, False]), both)[0] is not None
