"""Results by sex, age band, site and dataset; and of brain age, results without the bias towards the mean."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from braindino.analysis.metrics.estimates import estimate

MIN_PEOPLE = 10  # people, below which a group has no numbers
BAND = 10  # years
UNKNOWN = "unknown"


def subgroups(
    tables: Sequence[pd.DataFrame],
    names: Sequence[str],
    resamples: int,
    train: Sequence[pd.DataFrame | None] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Estimates for every sex, age band (of ten years), site and dataset that the cases have.

    Args:
        tables: rows of predictions.csv, one table per seed, of the same cases.
        names: the metrics wanted.
        resamples, train: as in `estimate`.

    Returns:
        `sex`, `age`, `site`, `dataset` (those that are known) -> groups in order, each {`group`, `cases`,
        `people`, `too_small`, `metrics`, `undefined`}. A group of fewer than ten people is too small:
        `metrics` is None. `undefined`: name -> the reason, of metrics without a value.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    for trait in ("sex", "age", "site", "dataset"):
        if any(trait not in table for table in tables):
            continue
        labels = [group_labels(table[trait], trait) for table in tables]
        found[trait] = []
        for group in sorted(set(labels[0]), key=_order):
            members = [table[label == group] for table, label in zip(tables, labels, strict=True)]
            people = members[0]["group"].nunique()
            counts = {"group": group, "cases": members[0]["case"].nunique(), "people": people}
            metrics, undefined = None, {}
            if people >= MIN_PEOPLE:
                whole = estimate(members, resamples, train=train)
                metrics = {name: whole["metrics"][name] for name in names}
                undefined = {name: why for name, why in whole["undefined"].items() if name in names}
            found[trait].append(
                {**counts, "too_small": metrics is None, "metrics": metrics, "undefined": undefined}
            )
    return found


def group_labels(values: "pd.Series[Any]", trait: str) -> np.ndarray:
    """(N,) names of the groups that the cases are in: age bands as `60-69`, `unknown` where blank."""
    if trait != "age":
        return values.fillna("").astype(str).replace("", UNKNOWN).to_numpy(dtype=object)
    ages = values.to_numpy(dtype=np.float64)
    lower = np.where(np.isfinite(ages), ages, 0.0) // BAND * BAND
    return np.array(
        [
            f"{low:.0f}-{low + BAND - 1:.0f}" if known else UNKNOWN
            for low, known in zip(lower, np.isfinite(ages), strict=True)
        ],
        dtype=object,
    )


def _order(group: str) -> tuple[bool, float, str]:
    """By number where a group begins with one (age bands), by name otherwise, the unknown last."""
    start = group.split("-")[0]
    return group == UNKNOWN, float(start) if start.isdecimal() else 0.0, group
