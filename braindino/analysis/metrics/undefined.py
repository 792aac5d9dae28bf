"""Find the reason why a metric is undefined."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from braindino.analysis.metrics.segmentation import EMPTY_CASES, NSD, PANOPTIC, REGION, regions_of
from braindino.analysis.predictions import task_of

NO_PAIR = "no two cases can be compared: the earlier of two times must be an event"


def undefined_reasons(
    names: Iterable[str], tables: Sequence[pd.DataFrame], train: Sequence[pd.DataFrame | None]
) -> dict[str, str]:
    """Return the reasons why metrics are undefined: name -> reason.

    Args:
        names: names of the undefined metrics.
        tables: rows of predictions.csv, one table per seed.
        train: rows of each table's training cases, which some survival metrics need, or None.
    """
    reason_of = {
        "classification": _classification_reason,
        "regression": _regression_reason,
        "survival": _survival_reason,
        "segmentation": _segmentation_reason,
    }[task_of(tables[0])]
    by_name = {}
    for name in names:
        reasons = (reason_of(name, table, rows) for table, rows in zip(tables, train, strict=True))
        by_name[name] = next((reason for reason in reasons if reason), "not finite for some seed")
    return by_name


def _classification_reason(name: str, table: pd.DataFrame, train: pd.DataFrame | None) -> str:
    present = table["target"].astype(str).unique()
    metric, _, label = name.partition("_")
    if metric == "sensitivity":
        return f"no case is {label}" if label not in present else ""
    if metric == "f1":
        return f"no case is, or is predicted as, {label}"
    return f"all cases are {present[0]}" if len(present) == 1 else ""


def _regression_reason(name: str, table: pd.DataFrame, train: pd.DataFrame | None) -> str:
    if len(table) == 1:
        return "there is one case"
    for column in ("target", "prediction") if name == "pearson" else ("target",):
        if np.ptp(table[column].to_numpy(dtype=np.float64)) == 0:
            return f"the {column} is the same in all cases"
    return ""


def _survival_reason(name: str, table: pd.DataFrame, train: pd.DataFrame | None) -> str:
    if name != "c_index" and train is not None and not (train["event"] == 1).any():
        return "no event in the training part"
    event = table["event"].to_numpy() == 1
    if not event.any() and name != "integrated_brier":
        return "no event"
    time = table["time"].to_numpy(dtype=np.float64)
    later = (time[:, None] < time) | ((time[:, None] == time) & ~event)
    if name.startswith("c_index") and not (event[:, None] & later).any():
        return NO_PAIR
    return "no event of the training part lies within the follow-up of both parts"


def _segmentation_reason(name: str, table: pd.DataFrame, train: pd.DataFrame | None) -> str:
    regions = regions_of(table)
    named = [region for region in regions if name.endswith(f"_{region}")]
    chosen = named[-1:] or list(regions)
    rows = table[table[REGION].isin(chosen)]
    either = " or ".join(chosen)
    if name.startswith(EMPTY_CASES):
        return f"every case has {' and '.join(chosen)}"
    if not (rows["true_ml"] > 0).any():
        return f"no case has any {either}"
    if name.startswith("sq") and rows["rq"].notna().any():
        return f"no {either} of any case overlaps its prediction by more than half of their union"
    if name.startswith((NSD, *PANOPTIC, "lesion_")):
        return "not measured by the version that computed these predictions"
    return f"no case has {either} in both masks"
