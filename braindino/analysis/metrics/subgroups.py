"""Estimate metrics by sex, age band, site and dataset."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from braindino.analysis.metrics.estimates import estimate

MIN_PEOPLE = 10  # of a group; smaller groups have no metrics
BAND = 10  # years
UNKNOWN = "unknown"


def subgroups(
    tables: Sequence[pd.DataFrame],
    names: Sequence[str],
    resamples: int,
    train: Sequence[pd.DataFrame | None] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Return estimates for every sex, age band (of ten years), site and dataset of the cases.

    Args:
        tables: rows of predictions.csv, one table per seed, of the same cases.
        names: names of the metrics to return.
        resamples: draws of people for the intervals.
        train: rows of each table's training cases; see `estimate`.

    Returns:
        `sex`, `age`, `site`, `dataset` (those that are known) -> groups in order, each {`group`, `cases`,
        `people`, `too_small`, `metrics`, `undefined`}. A group of fewer than ten people is too small:
        `metrics` is None. `undefined`: name -> the reason, of metrics without a value.
    """
    by_trait: dict[str, list[dict[str, Any]]] = {}
    for trait in ("sex", "age", "site", "dataset"):
        if any(trait not in table for table in tables):
            continue
        labels = [group_labels(table[trait], trait) for table in tables]
        by_trait[trait] = []
        for group in sorted(set(labels[0]), key=_sort_key):
            members = [table[label == group] for table, label in zip(tables, labels, strict=True)]
            people = members[0]["group"].nunique()
            counts = {"group": group, "cases": members[0]["case"].nunique(), "people": people}
            metrics, undefined = None, {}
            if people >= MIN_PEOPLE:
                estimates = estimate(members, resamples, train=train)
                metrics = {name: estimates["metrics"][name] for name in names}
                undefined = {name: why for name, why in estimates["undefined"].items() if name in names}
            by_trait[trait].append(
                {**counts, "too_small": metrics is None, "metrics": metrics, "undefined": undefined}
            )
    return by_trait


def group_labels(values: "pd.Series[Any]", trait: str) -> NDArray[np.object_]:
    """Return the names (N,) of the groups of cases: age bands as `60-69`, `unknown` where blank.

    Args:
        values: (N,) of the trait.
        trait: its name.
    """
    if trait != "age":
        return values.fillna("").astype(str).replace("", UNKNOWN).to_numpy(dtype=object)
    ages = values.to_numpy(dtype=np.float64)
    known = np.isfinite(ages)
    lower = np.where(known, ages, 0.0) // BAND * BAND
    bands = [f"{low:.0f}-{low + BAND - 1:.0f}" for low in lower]
    return np.where(known, np.array(bands, dtype=object), UNKNOWN)


def _sort_key(group: str) -> tuple[bool, float, str]:
    """Sort by the number at the start (age bands), then by name, with the unknown last."""
    start = group.split("-")[0]
    return group == UNKNOWN, float(start) if start.isdecimal() else 0.0, group
