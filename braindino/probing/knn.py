"""The paper's kNN on frozen features: people apart, every k, encoders against each other by McNemar."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from braindino.analysis.comparison.paired_tests import holm, mcnemar
from braindino.analysis.mapping import Mapper, serial_map
from braindino.analysis.metrics.estimates import estimate
from braindino.analysis.neighbours import nearest
from braindino.analysis.predictions import PROBABILITY, TRAITS
from braindino.datasets.cells import lookalikes, visible
from braindino.datasets.generic.labels import ClassName, as_text, class_names
from braindino.datasets.manifest import MASK, further_column, label_column
from braindino.datasets.splits import split_people
from braindino.errors import BraindinoError

IDENTITY = ("dataset", "subject", "session", "modality")
METRICS = ("accuracy", "balanced_accuracy", "f1", "auroc")
MOST_CLASSES = 20


def labelled_scans(
    table: pd.DataFrame,
    target: str,
    test: float,
    seed: int,
    source: str,
    classes: Sequence[ClassName] | None = None,
) -> pd.DataFrame:
    """Scans with a label, with `case` (a unique name), `label` and `split` ("train" or "test").

    A column `split` is kept: `train` and `val` are searched, `test` judges. Else a share `test` of the people
    judges, balanced over the classes.

    Args:
        table: a manifest's table.
        target: column of the label.
        test: share of the people who judge.
        seed: which people those are.
        source: the manifests, for messages.
        classes: classes to tell apart, all others left out; by default all there are.

    Raises:
        BraindinoError: no such column, a number instead of classes, two spellings that look like one class,
            or too few people of a class.
    """
    target = label_column(table, target)
    if target in ("group", "subject"):
        raise BraindinoError(
            f"{source}: {target!r} is the person in a manifest, no label; a column that your own table calls "
            f"so is {further_column(target)!r} in a manifest that `braindino index` made of it."
        )
    if target not in table:
        raise BraindinoError(
            f"{source}: no column {target!r}; there are {', '.join(map(str, table.columns))}."
        )
    names = () if classes is None else class_names(table[target], classes, source)
    labels = table[target].map(lambda cell: as_text(cell, names))
    wanted = labels.isin(names) if names else labels != ""
    scans = table.assign(label=labels)[(table["modality"] != MASK) & wanted].reset_index(drop=True)
    _check_classes(sorted(set(scans["label"])), bool(names), f"{source}: column {target!r}")
    cases = [":".join(str(row[name]) for name in IDENTITY if row[name]) for row in scans.to_dict("records")]
    count = pd.Series(cases).groupby(cases).cumcount()
    scans["case"] = [name if i == 0 else f"{name}:{i + 1}" for name, i in zip(cases, count, strict=True)]
    if "split" not in scans:
        scans["split"] = split_people(scans, (1 - test, 0.0, test), "label", seed)
        return scans
    scans = scans[scans["split"].isin(["train", "val", "test"])].reset_index(drop=True)
    scans["split"] = scans["split"].replace("val", "train")
    shared = scans.groupby("group")["split"].nunique()
    if (shared > 1).any():
        raise BraindinoError(
            f"{source}: {shared.index[shared > 1][0]} is in more than one part of the split."
        )
    if set(scans["split"]) != {"train", "test"}:
        raise BraindinoError(
            f"{source}: its column 'split' leaves no labelled scans to search, or none to judge."
        )
    return scans


def _check_classes(classes: Sequence[str], listed: bool, column: str) -> None:
    """Raise BraindinoError for classes that cannot be told apart, and for numbers."""
    alike = [] if listed else lookalikes(classes)
    if alike:
        spelled = ", ".join(repr(visible(name)) for name in alike[0])
        raise BraindinoError(
            f"{column} has {spelled}, which look like one class.\n"
            "Write one spelling in the manifest, or list them in --classes if they are different."
        )
    if len(classes) < 2:
        raise BraindinoError(f"{column} has {len(classes)} classes; kNN tells two or more apart.")
    if len(classes) > MOST_CLASSES:
        raise BraindinoError(
            f"{column} has {len(classes)} different values; kNN takes classes.\n"
            "A number is predicted by `braindino probe` with a RegressionHead."
        )


def neighbour_predictions(
    scans: pd.DataFrame, features: np.ndarray, ks: Sequence[int], seed: int
) -> dict[int, pd.DataFrame]:
    """k -> rows of predictions.csv of the scans that judge; no k above the number of scans searched.

    The prediction is the class with most votes, of equals the first in the order of the names.

    Args:
        scans: of `labelled_scans`. features: (N, D) of the same scans.
    """
    classes = sorted(set(scans["label"]))
    known = (scans["split"] == "train").to_numpy()
    votes = np.eye(len(classes))[scans["label"].map({name: i for i, name in enumerate(classes)})][known]
    used = [k for k in ks if k <= known.sum()]
    if not used:
        raise BraindinoError(f"{known.sum()} scans are searched: fewer than every k of {list(ks)}.")
    order = nearest(features[known], features[~known], max(used))
    judged = scans[~known].reset_index(drop=True)
    tables = {}
    for k in used:
        shares = votes[order[:, :k]].mean(axis=1)
        columns: dict[str, Any] = {name: judged[name] for name in ("case", "group", "split")}
        columns |= {"seed": seed, "fraction": 1.0, "target": judged["label"]}
        columns["prediction"] = np.array(classes, dtype=object)[shares.argmax(axis=1)]
        columns |= {f"{PROBABILITY}{name}": shares[:, i] for i, name in enumerate(classes)}
        columns |= {name: judged[name] for name in TRAITS if name in judged}
        tables[k] = pd.DataFrame(columns)
    return tables


def neighbour_results(
    found: Mapping[str, Mapping[int, pd.DataFrame]], resamples: int, divide: Mapper = serial_map
) -> pd.DataFrame:
    """A row per encoder, k and metric: value with its 95 % interval from resampling people.

    Args:
        divide: how the tables are gone through; see `compare_models`.
    """
    each = [(encoder, k, table) for encoder, tables in found.items() for k, table in tables.items()]
    estimated = divide(partial(_estimated, resamples=resamples), [table for _, _, table in each], "intervals")
    rows = []
    for (encoder, k, _), metrics in zip(each, estimated, strict=True):
        for name in METRICS:
            numbers = {part: metrics[name][part] for part in ("value", "low", "high")}
            rows.append({"encoder": encoder, "k": k, "metric": name, **numbers})
    return pd.DataFrame(rows)


def _estimated(table: pd.DataFrame, resamples: int) -> dict[str, Any]:
    metrics: dict[str, Any] = estimate([table], resamples)["metrics"]
    return metrics


def neighbour_tests(found: Mapping[str, Mapping[int, pd.DataFrame]]) -> pd.DataFrame:
    """Exact McNemar between every two encoders at every k; `p_holm` corrects over all rows."""
    names = list(found)
    rows = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            for k in found[first].keys() & found[second].keys():
                one, other = found[first][k], found[second][k]
                right = [(each["prediction"] == each["target"]).to_numpy() for each in (one, other)]
                gained, lost, p = mcnemar(*right)
                row = {"first": first, "second": second, "k": k, "only_first": gained, "only_second": lost}
                rows.append({**row, "p": p})
    table = pd.DataFrame(rows, columns=["first", "second", "k", "only_first", "only_second", "p"])
    table = table.sort_values(["first", "second", "k"], ignore_index=True)
    return table.assign(p_holm=holm(table["p"]))
