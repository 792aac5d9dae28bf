"""Why a metric is undefined: the reason that stands in its place."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from braindino.analysis.metrics.segmentation import REGION, regions_of
from braindino.analysis.predictions import task_of

NO_PAIR = "no two cases can be compared: the earlier of two times must be an event"


def undefined_reasons(
    names: Iterable[str], tables: Sequence[pd.DataFrame], train: Sequence[pd.DataFrame | None]
) -> dict[str, str]:
    """Return why metrics are undefined.

    Args:
        names: of the undefined metrics.
        tables: rows of predictions.csv, one table per seed.
        train: rows of each table's training cases, or None; survival has metrics of them.

    Returns:
        name -> reason.
    """
    find = {
        "classification": _of_classes,
        "regression": _of_numbers,
        "survival": _of_survival,
        "segmentation": _of_masks,
    }[task_of(tables[0])]
    told = {}
    for name in names:
        each = (find(name, table, rows) for table, rows in zip(tables, train, strict=True))
        told[name] = next((reason for reason in each if reason), "not finite for some seed")
    return told


def _of_classes(name: str, table: pd.DataFrame, train: pd.DataFrame | None) -> str:
    present = table["target"].astype(str).unique()
    metric, _, label = name.partition("_")
    if metric == "sensitivity":
        return f"no case is {label}" if label not in present else ""
    if metric == "f1":
        return f"no case is or is taken for {label}"
    return f"all cases are {present[0]}" if len(present) == 1 else ""


def _of_numbers(name: str, table: pd.DataFrame, train: pd.DataFrame | None) -> str:
    if len(table) == 1:
        return "there is one case"
    for column in ("target", "prediction") if name == "pearson" else ("target",):
        if np.ptp(table[column].to_numpy(dtype=np.float64)) == 0:
            return f"the {column} is the same in all cases"
    return ""


def _of_survival(name: str, table: pd.DataFrame, train: pd.DataFrame | None) -> str:
    if name != "c_index" and train is not None and not (train["event"] == 1).any():
        return "no event in the training part"
    died = table["event"].to_numpy() == 1
    if not died.any() and name != "integrated_brier":
        return "no event"
    time = table["time"].to_numpy(dtype=np.float64)
    later = (time[:, None] < time) | ((time[:, None] == time) & ~died)
    if name.startswith("c_index") and not (died[:, None] & later).any():
        return NO_PAIR
    return "no event of the training part lies within the follow-up of both parts"


def _of_masks(name: str, table: pd.DataFrame, train: pd.DataFrame | None) -> str:
    regions = regions_of(table)
    named = [region for region in regions if name.endswith(f"_{region}")]
    chosen = named[-1:] or list(regions)
    if (table.loc[table[REGION].isin(chosen), "true_ml"] > 0).any():
        return f"no case has {' or '.join(chosen)} in both masks"
    return f"no case has anything of {' or '.join(chosen)}"
