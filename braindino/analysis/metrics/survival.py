"""Compute survival metrics for many weighted resamples at once, and Kaplan-Meier curves."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from braindino.analysis.metrics.classification import auroc
from braindino.analysis.metrics.weighting import Floats, check_weights, ratio

# Deciles of the training part's event times, at which Brier score and AUC are computed.
HORIZONS = 9
TICKS = 6  # times at which numbers at risk are given


def survival_metrics(
    table: pd.DataFrame, train: pd.DataFrame | None = None, weights: ArrayLike | None = None
) -> dict[str, Floats]:
    """Return every survival metric for each of R weightings of the same N cases.

    Censored cases are included. scikit-survival gives the same numbers for one sample; here a thousand
    resamples cost a few products.

    Args:
        table: columns `risk` (log relative hazard), `time`, `event` (1 observed, 0 censored).
        train: the same columns of the cases that the model was trained on. The distribution of censoring,
            the baseline hazard (Breslow) and the horizons come from them, so they do not vary with the
            resamples. Without them only `c_index` is returned.
        weights: (R, N), how often each case counts; by default one row of ones.

    Returns:
        name -> (R,), NaN where undefined: `c_index` (Harrell 1982, a tie of risks counts half),
        `c_index_ipcw` (Uno et al. 2011, up to the last horizon), `integrated_brier` (Graf et al. 1999, mean
        over the horizons' range), `td_auc` (cumulative/dynamic, Uno et al. 2007, averaged over horizons with
        the weights of Lambert and Chevret 2016).
    """
    time, event, risk = _columns(table)
    weight = check_weights(weights, len(time))
    # A case that is censored at t lives longer than t.
    later = (time[:, None] < time) | ((time[:, None] == time) & ~event)
    comparable = event[:, None] & later
    metrics = {"c_index": _concordance(comparable, risk, np.ones(len(time)), weight)}
    if train is None:
        return metrics
    seen_time, seen_event, seen_risk = _columns(train)
    horizons = _horizons(seen_time, seen_event, time)
    if not len(horizons):
        undefined = np.full(len(weight), np.nan)
        return metrics | dict.fromkeys(("c_index_ipcw", "integrated_brier", "td_auc"), undefined)
    free = censoring_survival(seen_time, seen_event, np.minimum(time, horizons[-1]))
    inverse = ratio(np.ones(len(time)), free)
    early = time < horizons[-1]
    metrics["c_index_ipcw"] = _concordance(
        comparable & early[:, None], risk, np.where(early, inverse**2, 0.0), weight
    )
    free_at_horizons = censoring_survival(seen_time, seen_event, horizons)
    survival = _survival_of(risk, seen_time, seen_event, seen_risk, horizons)
    metrics["integrated_brier"] = _integrated_brier(
        time, event, inverse, free_at_horizons, horizons, survival, weight
    )
    metrics["td_auc"] = _mean_auc(time, event, risk, inverse, horizons, weight)
    return metrics


def kaplan_meier_by_risk(table: pd.DataFrame, train: pd.DataFrame) -> dict[str, Any]:
    """Return survival curves of the cases above and up to the median risk of the training cases.

    The threshold comes from training, so that the groups do not depend on the test part.

    Args:
        table: columns `risk`, `time` and `event` of the test cases.
        train: the same columns of the training cases.

    Returns:
        `threshold`; `logrank`: {`statistic`, `p`}, None where it is undefined, then with `logrank_undefined`,
        the reason; `ticks`; `groups`: `low` and `high`, each {`cases`, `events`, `time`, `survival`,
        `at_risk`} (the numbers at risk at the ticks).
    """
    from sksurv.nonparametric import kaplan_meier_estimator

    time, event, risk = _columns(table)
    threshold = float(np.median(_columns(train)[2]))
    high = risk > threshold
    ticks = np.linspace(0, time.max(), TICKS)
    groups: dict[str, Any] = {}
    for name, chosen in (("low", ~high), ("high", high)):
        at = survival = np.empty(0)
        if chosen.any():
            at, survival = kaplan_meier_estimator(event[chosen], time[chosen])
        groups[name] = {
            "cases": int(chosen.sum()),
            "events": int(event[chosen].sum()),
            "time": at.tolist(),
            "survival": survival.tolist(),
            "at_risk": [int((time[chosen] >= tick).sum()) for tick in ticks],
        }
    test, reason = logrank(time, event, high)
    undefined = {} if test is not None else {"logrank_undefined": reason}
    return {
        "threshold": threshold,
        "logrank": test,
        **undefined,
        "ticks": ticks.tolist(),
        "groups": groups,
    }


def logrank(
    time: Floats, event: NDArray[np.bool_], high: NDArray[np.bool_]
) -> tuple[dict[str, float] | None, str]:
    """Return the log-rank test of two groups (`statistic`, `p`), or None and the reason.

    Args:
        time: (N,) of the event or of censoring.
        event: (N,) whether it was observed.
        high: (N,) whether a case is in the second group.
    """
    from sksurv.compare import compare_survival
    from sksurv.util import Surv

    if high.all() or not high.any():
        return None, f"all cases are in the group of {'high' if high.all() else 'low'} risk"
    if not event.any():
        return None, "no event"
    at_risk = [high[time >= at] for at in np.unique(time[event])]
    if all(group.all() or not group.any() for group in at_risk):
        return None, "at no event are both groups still under observation"
    if all(
        len(group) == int((event & (time == at)).sum())
        for group, at in zip(at_risk, np.unique(time[event]), strict=True)
    ):
        return None, "no case is at risk after an event"
    statistic, p = compare_survival(Surv.from_arrays(event, time), high)
    return {"statistic": float(statistic), "p": float(p)}, ""


def survival_curves(risk: ArrayLike, train: pd.DataFrame, times: ArrayLike) -> Floats:
    """Return the chance (N, T) of each case to survive each time, by Breslow's baseline hazard.

    Args:
        risk: (N,) log relative hazards.
        train: columns `risk`, `time` and `event` of the cases that the model was trained on.
        times: (T,).
    """
    seen_time, seen_event, seen_risk = _columns(train)
    at = np.asarray(times, dtype=np.float64)
    return _survival_of(np.asarray(risk, dtype=np.float64), seen_time, seen_event, seen_risk, at)


def censoring_survival(time: Floats, event: NDArray[np.bool_], at: Floats) -> Floats:
    """Return the chance of no censoring up to given times (reverse Kaplan-Meier); may be 0.

    Args:
        time: (N,) of the event or of censoring.
        event: (N,) whether it was observed.
        at: (T,) times.
    """
    from sksurv.nonparametric import kaplan_meier_estimator

    if event.all():
        return np.ones(len(at))
    steps, survival = kaplan_meier_estimator(event, time, reverse=True)
    return _at_steps(steps, np.r_[1.0, survival], at)


def _at_steps(steps: Floats, values: Floats, at: Floats) -> Floats:
    """Return a step function (T,) at given times; `values[0]` is its value before all steps."""
    reached: Floats = values[np.searchsorted(steps, at, side="right")]
    return reached


def _columns(table: pd.DataFrame) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Return time, event and risk."""
    time, risk = (table[name].to_numpy(dtype=np.float64) for name in ("time", "risk"))
    return time, table["event"].to_numpy(dtype=np.float64) == 1, risk


def _horizons(seen_time: Floats, seen_event: NDArray[np.bool_], time: Floats) -> Floats:
    """Return deciles of the training part's event times, within the follow-up of both parts."""
    if not seen_event.any():
        return np.empty(0)
    deciles: Floats = np.unique(
        np.quantile(seen_time[seen_event], np.arange(1, HORIZONS + 1) / (HORIZONS + 1))
    )
    followed = (deciles >= time.min()) & (deciles < time.max())
    horizons: Floats = deciles[followed & (censoring_survival(seen_time, seen_event, deciles) > 0)]
    return horizons


def _concordance(comparable: NDArray[np.bool_], risk: Floats, factor: Floats, weight: Floats) -> Floats:
    """Return the weighted share of comparable pairs whose earlier event has the higher risk."""
    pairs = comparable * factor[:, None]
    difference = risk[:, None] - risk
    right = pairs * ((difference > 0) + 0.5 * (difference == 0))
    return ratio(((weight @ right) * weight).sum(axis=1), ((weight @ pairs) * weight).sum(axis=1))


def _survival_of(
    risk: Floats, seen_time: Floats, seen_event: NDArray[np.bool_], seen_risk: Floats, at: Floats
) -> Floats:
    """Return the chance (N, T) of each case to survive the times `at` (T,)."""
    # Finite, as infinity times 0 is undefined.
    relative = np.exp(np.minimum(risk - seen_risk.max(), 600.0))
    survival: Floats = np.exp(-np.outer(relative, _baseline(seen_time, seen_event, seen_risk, at)))
    return survival


def _baseline(time: Floats, event: NDArray[np.bool_], risk: Floats, at: Floats) -> Floats:
    """Return Breslow's cumulative baseline hazard (T,), for risks minus their maximum."""
    steps = np.unique(time[event])
    relative = np.exp(risk - risk.max())
    deaths = np.array([(event & (time == step)).sum() for step in steps])
    exposed = np.array([relative[time >= step].sum() for step in steps])
    return _at_steps(steps, np.r_[0.0, np.cumsum(deaths / exposed)], at)


def _integrated_brier(
    time: Floats,
    event: NDArray[np.bool_],
    inverse: Floats,
    free: Floats,
    horizons: Floats,
    survival: Floats,
    weight: Floats,
) -> Floats:
    dead = (time[:, None] <= horizons) & event[:, None]
    alive = time[:, None] > horizons
    case = dead * survival**2 * inverse[:, None] + alive * (1 - survival) ** 2 / free
    scores: Floats = weight @ case / weight.sum(axis=1, keepdims=True)
    if len(horizons) == 1:
        single: Floats = scores[:, 0]
        return single
    mean: Floats = np.trapezoid(scores, horizons, axis=1) / (horizons[-1] - horizons[0])
    return mean


def _mean_auc(
    time: Floats,
    event: NDArray[np.bool_],
    risk: Floats,
    inverse: Floats,
    horizons: Floats,
    weight: Floats,
) -> Floats:
    each = []
    for horizon in horizons:
        dead = (time <= horizon) & event
        factor = np.where(dead, inverse, (time > horizon).astype(np.float64))
        each.append(auroc(dead.astype(np.float64), risk, weight * factor))
    curves = np.stack(each, axis=1)
    fall = -np.diff(_survival(time, event, horizons, weight), axis=1, prepend=1.0)
    fall = np.where(np.isnan(curves), 0.0, fall)
    return ratio((np.nan_to_num(curves) * fall).sum(axis=1), fall.sum(axis=1))


def _survival(time: Floats, event: NDArray[np.bool_], at: Floats, weight: Floats) -> Floats:
    """Return the Kaplan-Meier estimate (R, T) of each weighting."""
    steps = np.unique(time[event & (time <= at[-1])])
    deaths = weight @ (event[:, None] & (time[:, None] == steps)).astype(np.float64)
    exposed = weight @ (time[:, None] >= steps).astype(np.float64)
    survival = np.cumprod(1 - np.nan_to_num(ratio(deaths, exposed)), axis=1)
    whole = np.concatenate([np.ones((len(weight), 1)), survival], axis=1)
    return whole[:, np.searchsorted(steps, at, side="right")]
