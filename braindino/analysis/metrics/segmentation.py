"""Compute segmentation metrics from rows per case and region."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from braindino.analysis.metrics.weighting import Floats, check_weights, nanmean, ratio

REGION = "region"
MEASURED = ("dice", "hd95", "true_ml", "predicted_ml")
# Columns of tables in which lesions are counted.
LESIONS = ("true_lesions", "predicted_lesions", "lesion_f1")


def regions_of(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the regions in the order in which a case lists them.

    Args:
        table: rows of predictions.csv.
    """
    return tuple(str(name) for name in table[REGION].drop_duplicates())


def measures_of(table: pd.DataFrame) -> dict[str, Floats]:
    """Return the measures of each row: name -> (N,), NaN where undefined.

    They are `dice`, `hd95` (mm), `volume_error_ml` (absolute difference of volumes), and where lesions were
    counted `lesion_f1` and `lesion_count_error` (absolute difference of counts). `dice` and `lesion_f1` of an
    empty truth are NaN, whatever the file contains there.

    Args:
        table: N rows of predictions.csv.
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
    """Return means over cases for each of R weightings of the same N rows.

    Args:
        table: rows of predictions.csv: `region`, `dice`, `hd95` (mm), `true_ml`, `predicted_ml`, and the
            counts of lesions where there are any. `dice` and `lesion_f1` are blank where the truth is empty,
            `hd95` where either mask is; such rows are excluded from these means (`count_empty`).
        weights: (R, N), how often each row counts; by default one row of ones.

    Returns:
        name -> (R,): the measures of `measures_of`, each the mean over regions of the mean over cases, and
        the mean over cases of each region as `<name>_<region>`. NaN where no row counts.
    """
    weight = check_weights(weights, len(table))
    over_regions: dict[str, Floats] = {}
    by_region: dict[str, Floats] = {}
    for name, values in measures_of(table).items():
        means = []
        for region in regions_of(table):
            rows = ((table[REGION] == region) & np.isfinite(values)).to_numpy()
            means.append(ratio(weight[:, rows] @ values[rows], weight[:, rows].sum(axis=1)))
            by_region[f"{name}_{region}"] = means[-1]
        over_regions[name] = nanmean(np.stack(means, axis=1))
    return {**over_regions, **by_region}


def count_empty(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return each region's number of `cases`, `true_empty`, `predicted_empty`, `both_empty`.

    Args:
        table: rows of predictions.csv.
    """
    counts = {}
    for region in regions_of(table):
        rows = table[table[REGION] == region]
        true_empty, predicted_empty = rows["true_ml"] == 0, rows["predicted_ml"] == 0
        counts[region] = {
            "cases": len(rows),
            "true_empty": int(true_empty.sum()),
            "predicted_empty": int(predicted_empty.sum()),
            "both_empty": int((true_empty & predicted_empty).sum()),
        }
    return counts


def invalid_rows(table: pd.DataFrame, cell: Sequence[str]) -> tuple[NDArray[Any], str] | None:
    """Return the rows (N,) that are no measures of a segmentation, with the reason, or None.

    Args:
        table: N rows of predictions.csv.
        cell: columns that identify a trained probe; each one has every region of every case.
    """
    values = {name: pd.to_numeric(table[name], errors="coerce").to_numpy(np.float64) for name in MEASURED}
    blank = table["hd95"].isna().to_numpy()
    volumes = [values["true_ml"], values["predicted_ml"]]
    undefined = table["dice"].isna().to_numpy() & (values["true_ml"] == 0)
    regions = table.groupby([*cell, "case"])[REGION].transform("nunique").to_numpy()
    valid_dice = undefined | ((values["dice"] >= 0) & (values["dice"] <= 1))
    valid_distance = blank | (np.isfinite(values["hd95"]) & (values["hd95"] >= 0))
    valid_volumes = np.logical_and.reduce([np.isfinite(volume) & (volume >= 0) for volume in volumes])
    checks = [
        (~valid_dice, "dice is no number from 0 to 1"),
        (~valid_distance, "hd95 is no distance in mm"),
        (~valid_volumes, "a volume is no number of ml"),
        (regions < table[REGION].nunique(), "lacks a region that other cases have"),
    ]
    return next(((invalid, reason) for invalid, reason in checks if invalid.any()), None)
