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
# Recognition, segmentation and panoptic quality, of tables in which lesions are matched.
PANOPTIC = ("rq", "sq", "pq")
NSD, NSD_TOLERANCE = "nsd", "nsd_tolerance"
# Columns of a table as it is written; tables of earlier versions have fewer.
ROW = (*MEASURED, *LESIONS, *PANOPTIC, NSD, NSD_TOLERANCE)
# Measures of cases without the region.
EMPTY_CASES = ("case_specificity", "false_positive_ml")


def regions_of(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the regions in the order in which a case lists them.

    Args:
        table: rows of predictions.csv.
    """
    return tuple(str(name) for name in table[REGION].drop_duplicates())


def measures_of(table: pd.DataFrame) -> dict[str, Floats]:
    """Return the measures of each row: name -> (N,), NaN where undefined.

    Every table has `dice`, `hd95` (mm) and `volume_error_ml` (absolute difference of volumes), and for rows
    with an empty truth `case_specificity` (1 if the prediction is empty too, else 0) and `false_positive_ml`
    (the predicted volume). Further ones exist where they were measured: `lesion_f1` and `lesion_count_error`
    (absolute difference of counts), `rq`, `sq` and `pq` of matched lesions, and `nsd`. For an empty truth all
    but the differences are NaN, whatever the file contains there.

    Args:
        table: N rows of predictions.csv.
    """
    numbers = {name: table[name].to_numpy(dtype=np.float64) for name in ROW if name in table}
    absent, present = numbers["true_ml"] == 0, numbers["true_ml"] > 0
    measures = {
        "dice": np.where(present, numbers["dice"], np.nan),
        "hd95": numbers["hd95"],
        "volume_error_ml": np.abs(numbers["predicted_ml"] - numbers["true_ml"]),
        "case_specificity": np.where(absent, numbers["predicted_ml"] == 0, np.nan),
        "false_positive_ml": np.where(absent, numbers["predicted_ml"], np.nan),
    }
    if set(LESIONS) <= set(numbers):
        measures["lesion_f1"] = np.where(numbers["true_lesions"] > 0, numbers["lesion_f1"], np.nan)
        measures["lesion_count_error"] = np.abs(numbers["predicted_lesions"] - numbers["true_lesions"])
    for name in (*PANOPTIC, NSD):
        if name in numbers:
            measures[name] = np.where(present, numbers[name], np.nan)
    return measures


def nsd_tolerance(table: pd.DataFrame) -> float | None:
    """Return the tolerance of the surface Dice [mm], or None if it was not measured.

    Args:
        table: rows of predictions.csv.
    """
    if NSD_TOLERANCE not in table:
        return None
    tolerances = table[NSD_TOLERANCE].dropna()
    return None if tolerances.empty else float(tolerances.iloc[0])


def segmentation_metrics(table: pd.DataFrame, weights: ArrayLike | None = None) -> dict[str, Floats]:
    """Return means over cases for each of R weightings of the same N rows.

    Args:
        table: rows of predictions.csv: `region`, `dice`, `hd95` (mm), `true_ml`, `predicted_ml`, and the
            further columns of `ROW` where they were measured. Rows in which a measure is undefined are
            excluded from its mean (`count_empty`).
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
    shares = [name for name in ("lesion_f1", *PANOPTIC, NSD) if name in table]
    valid_dice = undefined | ((values["dice"] >= 0) & (values["dice"] <= 1))
    valid_distance = blank | (np.isfinite(values["hd95"]) & (values["hd95"] >= 0))
    valid_volumes = np.logical_and.reduce([np.isfinite(volume) & (volume >= 0) for volume in volumes])
    checks = [
        (~valid_dice, "dice is no number from 0 to 1"),
        (~valid_distance, "hd95 is no distance in mm"),
        (~valid_volumes, "a volume is no number of ml"),
        *((_no_share(table[name]), f"{name} is no number from 0 to 1") for name in shares),
        (regions < table[REGION].nunique(), "lacks a region that other cases have"),
    ]
    return next(((invalid, reason) for invalid, reason in checks if invalid.any()), None)


def _no_share(column: "pd.Series[Any]") -> NDArray[Any]:
    """Return the rows (N,) that are neither blank nor a number from 0 to 1."""
    values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
    return column.notna().to_numpy() & ~((values >= 0) & (values <= 1))
