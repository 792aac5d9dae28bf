"""Segmentation, a row per case and region: means of Dice, HD95 and volume errors, and empty masks counted."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from braindino.analysis.metrics.weighting import Floats, nanmean, ratio, weights_of

REGION = "region"
MEASURED = ("dice", "hd95", "true_ml", "predicted_ml")
LESIONS = ("true_lesions", "predicted_lesions", "lesion_f1")  # beside them, where lesions were counted


def regions_of(table: pd.DataFrame) -> tuple[str, ...]:
    """The regions in the order in which a case lists them."""
    return tuple(str(name) for name in table[REGION].drop_duplicates())


def measures_of(table: pd.DataFrame) -> dict[str, Floats]:
    """What is measured of each of N rows of predictions.csv: name -> (N,), NaN where it is not defined.

    `dice`, `hd95` (mm), `volume_error_ml` (absolute difference of volumes); where lesions were counted,
    `lesion_f1` and `lesion_count_error` (absolute difference of counts). `dice` and `lesion_f1` of an empty
    truth are NaN, whatever the file holds there.
    """
    counted = LESIONS if set(LESIONS) <= set(table) else ()
    numbers = {name: table[name].to_numpy(dtype=np.float64) for name in (*MEASURED, *counted)}
    measures = {
        "dice": np.where(numbers["true_ml"] > 0, numbers["dice"], np.nan),
        "hd95": numbers["hd95"],
        "volume_error_ml": np.abs(numbers["predicted_ml"] - numbers["true_ml"]),
    }
    if counted:
        measures["lesion_f1"] = np.where(numbers["true_lesions"] > 0, numbers["lesion_f1"], np.nan)
        measures["lesion_count_error"] = np.abs(numbers["predicted_lesions"] - numbers["true_lesions"])
    return measures


def segmentation_metrics(table: pd.DataFrame, weights: ArrayLike | None = None) -> dict[str, Floats]:
    """Means over cases, of each of R weightings of the same N rows.

    Args:
        table: rows of predictions.csv: `region`, `dice`, `hd95` (mm), `true_ml`, `predicted_ml`, and the
            counts of lesions where there are any. Where the truth is empty `dice` and `lesion_f1` are blank,
            where either is `hd95` is, and such rows have no part in these means (`count_empty`).
        weights: (R, N), how often each row counts; one row of ones if not given.

    Returns:
        name -> (R,): `dice`, `hd95`, `volume_error_ml` (mean absolute difference of volumes), `lesion_f1` and
        `lesion_count_error` (mean absolute difference of counts), each the mean over regions of the mean over
        cases, and the same for each region as `<name>_<region>`. NaN where no row counts.
    """
    weight = weights_of(weights, len(table))
    found: dict[str, Floats] = {}
    each: dict[str, Floats] = {}
    for name, values in measures_of(table).items():
        means = []
        for region in regions_of(table):
            rows = ((table[REGION] == region) & np.isfinite(values)).to_numpy()
            means.append(ratio(weight[:, rows] @ values[rows], weight[:, rows].sum(axis=1)))
            each[f"{name}_{region}"] = means[-1]
        found[name] = nanmean(np.stack(means, axis=1))
    return {**found, **each}


def count_empty(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Per region: `cases`, of these `true_empty` and `predicted_empty`, and `both_empty`."""
    counts = {}
    for region in regions_of(table):
        rows = table[table[REGION] == region]
        nothing, found_nothing = rows["true_ml"] == 0, rows["predicted_ml"] == 0
        counts[region] = {
            "cases": len(rows),
            "true_empty": int(nothing.sum()),
            "predicted_empty": int(found_nothing.sum()),
            "both_empty": int((nothing & found_nothing).sum()),
        }
    return counts


def first_wrong(table: pd.DataFrame, cell: Sequence[str]) -> tuple[np.ndarray, str] | None:
    """Which rows (bool) are no measures of a segmentation, and why; None if there are none.

    Args:
        cell: columns that tell one trained probe from another; in each, every case has every region.
    """
    values = {name: pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in MEASURED}
    blank = table["hd95"].isna().to_numpy()
    volumes = [values["true_ml"], values["predicted_ml"]]
    undefined = table["dice"].isna().to_numpy() & (values["true_ml"] == 0)
    regions = table.groupby([*cell, "case"])[REGION].transform("nunique").to_numpy()
    checks = [
        (~(undefined | ((values["dice"] >= 0) & (values["dice"] <= 1))), "dice is no number from 0 to 1"),
        (~(blank | (np.isfinite(values["hd95"]) & (values["hd95"] >= 0))), "hd95 is no distance in mm"),
        (~np.logical_and.reduce([np.isfinite(v) & (v >= 0) for v in volumes]), "a volume is no number of ml"),
        (regions < table[REGION].nunique(), "lacks a region that other cases have"),
    ]
    return next(((wrong, reason) for wrong, reason in checks if wrong.any()), None)
