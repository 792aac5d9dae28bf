"""The paper's kNN on frozen features, for every k, with McNemar tests between encoders."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from braindino.analysis.comparison.paired_tests import holm, mcnemar
from braindino.analysis.mapping import Mapper, serial_map
from braindino.analysis.metrics.estimates import estimate
from braindino.analysis.neighbours import nearest
from braindino.analysis.predictions import PROBABILITY, TRAITS
from braindino.datasets.cells import lookalikes, visible
from braindino.datasets.checks.leakage import contents_of, pretraining_overlap
from braindino.datasets.generic.labels import ClassName, as_text, class_names
from braindino.datasets.manifest import MASK, further_column, label_column
from braindino.datasets.splits import split_people
from braindino.encoders.base import Encoder
from braindino.encoders.features import extract
from braindino.errors import BraindinoError
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store

SCAN_COLUMNS = ("dataset", "subject", "session", "modality")
METRICS = ("accuracy", "balanced_accuracy", "f1", "auroc")
MAX_CLASSES = 20
# Encoder -> k -> rows of predictions.csv.
Predictions = Mapping[str, Mapping[int, pd.DataFrame]]


def labelled_scans(
    table: pd.DataFrame,
    target: str,
    test: float,
    seed: int,
    source: str,
    classes: Sequence[ClassName] | None = None,
) -> pd.DataFrame:
    """Return the scans with a label, with `case` (a unique name), `label` and `split`.

    `split` is "train" for the scans that are searched, and "test" for those that are classified. It is taken
    from a column `split` of the table, where "val" becomes "train"; without one a share of the people is
    drawn for the test, balanced over the classes.

    Args:
        table: table of a manifest.
        target: column of the label.
        test: share of the people in the test.
        seed: seed of the draw.
        source: name of the manifests, for messages.
        classes: classes to use, all others are excluded; by default all.

    Raises:
        BraindinoError: no such column, a number instead of classes, two spellings that look like one class,
            or too few people of a class.
    """
    target = _check_target(table, target, source)
    names = () if classes is None else class_names(table[target], classes, source)
    labels = table[target].map(lambda cell: as_text(cell, names))
    used = labels.isin(names) if names else labels != ""
    scans = table.assign(label=labels)[(table["modality"] != MASK) & used].reset_index(drop=True)
    _check_classes(sorted(set(scans["label"])), bool(names), f"{source}: column {target!r}")
    cases = [
        ":".join(str(row[name]) for name in SCAN_COLUMNS if row[name]) for row in scans.to_dict("records")
    ]
    count = pd.Series(cases).groupby(cases).cumcount()
    scans["case"] = [name if i == 0 else f"{name}:{i + 1}" for name, i in zip(cases, count, strict=True)]
    if "split" not in scans:
        scans["split"] = split_people(scans, (1 - test, 0.0, test), "label", seed)
        return scans
    return _with_given_split(scans, source)


def _check_target(table: pd.DataFrame, target: str, source: str) -> str:
    """Return the column of the label; raise BraindinoError if it is none."""
    target = label_column(table, target)
    if target in ("group", "subject"):
        raise BraindinoError(
            f"{source}: {target!r} is the person in a manifest, no label; a column of your own table with "
            f"that name is {further_column(target)!r} in the manifest that `braindino index` made of it."
        )
    if target not in table:
        raise BraindinoError(
            f"{source}: no column {target!r}; there are {', '.join(map(str, table.columns))}."
        )
    return target


def _with_given_split(scans: pd.DataFrame, source: str) -> pd.DataFrame:
    """Return the scans in a part of the given split, with "val" as "train"."""
    scans = scans[scans["split"].isin(["train", "val", "test"])].reset_index(drop=True)
    scans["split"] = scans["split"].replace("val", "train")
    parts = scans.groupby("group")["split"].nunique()
    if (parts > 1).any():
        raise BraindinoError(f"{source}: {parts.index[parts > 1][0]} is in more than one part of the split.")
    if set(scans["split"]) != {"train", "test"}:
        raise BraindinoError(
            f"{source}: its column 'split' leaves no labelled scans to search, or none to classify."
        )
    return scans


def _check_classes(classes: Sequence[str], listed: bool, column: str) -> None:
    """Raise BraindinoError for classes that look alike, fewer than two, and numbers."""
    alike = [] if listed else lookalikes(classes)
    if alike:
        spelled = ", ".join(repr(visible(name)) for name in alike[0])
        raise BraindinoError(
            f"{column} has {spelled}, which look like one class.\n"
            "Write one spelling in the manifest, or list them in --classes if they are different."
        )
    if len(classes) < 2:
        raise BraindinoError(f"{column} has {len(classes)} classes; kNN needs two or more.")
    if len(classes) > MAX_CLASSES:
        raise BraindinoError(
            f"{column} has {len(classes)} different values; kNN takes classes.\n"
            "A number is predicted by `braindino probe` with a RegressionHead."
        )


class ScanFeatures(NamedTuple):
    """Features of scans by one encoder.

    Attributes:
        values: (N, D) mean over the slices' CLS tokens; 0 for a scan that could not be prepared.
        prepared: (N,) whether a scan could be prepared.
        seen: overlap of the scans with the encoder's pretraining; None if the encoder does not record it.
    """

    values: np.ndarray
    prepared: "pd.Series[bool]"
    seen: dict[str, Any] | None


def scan_features(
    encoder: Encoder,
    store: Store,
    scans: pd.DataFrame,
    jobs: int = 1,
    batch_size: int = 128,
    device: torch.device | str = "cpu",
    progress: bool = True,
) -> ScanFeatures:
    """Prepare scans, extract features, and compare the scans with the encoder's pretraining.

    Args:
        encoder: the encoder.
        store: store of the encoder's contract.
        scans: N rows of a manifest's table.
        jobs: processes that prepare scans.
        batch_size: slices per forward.
        device: device that the encoder runs on.
        progress: show on stderr how many scans are done.
    """
    fill(store, scans, jobs=jobs, progress=progress)
    store.refresh()
    keys = pd.Series([store.key_of(path) or "" for path in scans["path"]], index=scans.index, dtype=object)
    features = extract(
        encoder,
        store,
        [key for key in keys if key],
        store.path / "features",
        batch_size=batch_size,
        device=device,
        progress=progress,
    )
    values = np.zeros((len(scans), encoder.embed_dim), np.float32)
    for i, key in enumerate(keys):
        if key:
            values[i] = features[key].float().mean(dim=0).numpy()
    cases = scans.assign(key_scan=keys)[keys != ""]
    contents = contents_of(cases, ["scan"], store)
    seen = None if encoder.seen is None else pretraining_overlap(cases, ["scan"], encoder.seen, contents)
    return ScanFeatures(values, keys != "", seen)


def neighbour_predictions(
    scans: pd.DataFrame, features: np.ndarray, ks: Sequence[int], seed: int
) -> dict[int, pd.DataFrame]:
    """Return k -> rows of predictions.csv of the test scans, for every k that is possible.

    The predicted class has the most votes, among equals it is the first in the order of the names.

    Args:
        scans: N rows of `labelled_scans`.
        features: (N, D) features of the scans.
        ks: numbers of neighbours.
        seed: seed of the split, a column of the rows.

    Raises:
        BraindinoError: fewer scans than the smallest k are searched.
    """
    classes = sorted(set(scans["label"]))
    searched = (scans["split"] == "train").to_numpy()
    index = scans["label"].map({name: i for i, name in enumerate(classes)})
    votes = np.eye(len(classes))[index][searched]
    used = [k for k in ks if k <= searched.sum()]
    if not used:
        raise BraindinoError(f"{searched.sum()} scans are searched: fewer than every k of {list(ks)}.")
    order = nearest(features[searched], features[~searched], max(used))
    tested = scans[~searched].reset_index(drop=True)
    tables = {}
    for k in used:
        shares = votes[order[:, :k]].mean(axis=1)
        columns: dict[str, Any] = {name: tested[name] for name in ("case", "group", "split")}
        columns |= {"seed": seed, "fraction": 1.0, "target": tested["label"]}
        columns["prediction"] = np.array(classes, dtype=object)[shares.argmax(axis=1)]
        columns |= {f"{PROBABILITY}{name}": shares[:, i] for i, name in enumerate(classes)}
        columns |= {name: tested[name] for name in TRAITS if name in tested}
        tables[k] = pd.DataFrame(columns)
    return tables


def neighbour_results(predictions: Predictions, resamples: int, mapper: Mapper = serial_map) -> pd.DataFrame:
    """Return a row per encoder, k and metric, with a 95 % interval from resampling people.

    Args:
        predictions: encoder -> k -> rows of predictions.csv.
        resamples: draws of people; 0 for no intervals.
        mapper: computes the estimates of all tables; see `Mapper`.
    """
    flat = [(encoder, k, table) for encoder, tables in predictions.items() for k, table in tables.items()]
    estimates = mapper(partial(_metrics, resamples=resamples), [table for _, _, table in flat], "intervals")
    rows = []
    for (encoder, k, _), metrics in zip(flat, estimates, strict=True):
        for name in METRICS:
            numbers = {part: metrics[name][part] for part in ("value", "low", "high")}
            rows.append({"encoder": encoder, "k": k, "metric": name, **numbers})
    return pd.DataFrame(rows)


def _metrics(table: pd.DataFrame, resamples: int) -> dict[str, Any]:
    metrics: dict[str, Any] = estimate([table], resamples)["metrics"]
    return metrics


def neighbour_tests(predictions: Predictions) -> pd.DataFrame:
    """Return exact McNemar tests of every two encoders at every k, with Holm's correction.

    Args:
        predictions: encoder -> k -> rows of predictions.csv.
    """
    names = list(predictions)
    rows = []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            for k in predictions[first].keys() & predictions[second].keys():
                tables = (predictions[first][k], predictions[second][k])
                right = [(table["prediction"] == table["target"]).to_numpy() for table in tables]
                only_first, only_second, p = mcnemar(*right)
                row = {"first": first, "second": second, "k": k}
                rows.append({**row, "only_first": only_first, "only_second": only_second, "p": p})
    table = pd.DataFrame(rows, columns=["first", "second", "k", "only_first", "only_second", "p"])
    table = table.sort_values(["first", "second", "k"], ignore_index=True)
    return table.assign(p_holm=holm(table["p"]))
