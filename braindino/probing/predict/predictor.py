"""Predictions of finished probes for new cases, averaged over seeds and folds."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from braindino.analysis.metrics.survival import survival_curves
from braindino.analysis.predictions import PROBABILITY
from braindino.encoders.cache import Precision
from braindino.encoders.features import extract
from braindino.errors import NotFiniteError
from braindino.files import read_json
from braindino.probing.cell import Cell
from braindino.probing.evaluation import case_masks
from braindino.probing.module import FrozenProbeModule
from braindino.probing.pooling import Pooling
from braindino.probing.predict.inputs import Rejection
from braindino.probing.predict.probe import FinishedProbe
from braindino.scans.store.store import Store

# Columns of a head's rows that a new case does not have.
TRUTH = ("target", "time", "event")


class _Protocol(TypedDict):
    precision: Literal["float32", "bfloat16"]


class _Settings(TypedDict):
    """The part of study.json about the precision of encoder and predictions."""

    protocol: _Protocol


@dataclass(frozen=True)
class Prediction:
    """The prediction for one case.

    Attributes:
        columns: columns of its row of predictions.csv.
        curve: table of `time` and `survival` for survival, else None.
        masks: for a segmentation region -> (X, Y, Z) bool in the native space of the case's first scan.
    """

    columns: dict[str, Any]
    curve: pd.DataFrame | None = None
    masks: dict[str, np.ndarray] = field(default_factory=dict)


def predict_cases(
    probe: FinishedProbe,
    cases: Mapping[str, Mapping[str, str]],
    store: Store,
    device: torch.device | str = "cpu",
    batch_size: int = 128,
    progress: bool = False,
) -> Iterator[tuple[str, Prediction | Rejection]]:
    """Yield the prediction for each case, or a rejection if features or outputs are not finite.

    Several probes (seeds, folds) are averaged: probabilities; numbers, with their deviation in `sd`; survival
    curves, and risks relative to the median risk of each probe's training cases. A mask is the region that
    at least half of them predict.

    Args:
        probe: the trained probes.
        cases: name -> modality -> key in the store.
        store: store that contains the scans, prepared by the encoder's contract.
        device: device that the encoder and the probes run on.
        batch_size: slices per forward of the encoder.
        progress: show on stderr how many scans are extracted.
    """
    modules = {cell: module.to(device) for cell, module in probe.modules.items()}
    features = _extract(probe, modules, cases, store, device, batch_size, progress)
    precision: Precision = "float32"
    if features is None:
        probe.encoder.to(device)
        precision = _precision_of(probe)
    trained = {cell: _training_rows(cell) for cell in modules} if probe.task == "survival" else {}
    for name, scans in cases.items():
        keys = [scans.get(modality, "") for modality in probe.modalities]
        not_finite = [key for key in keys if key and features is not None and key not in features]
        try:
            if not_finite:
                raise NotFiniteError("the features of the encoder are not finite")
            with _autocast(precision, device):
                if probe.task == "segmentation":
                    prediction = _predict_masks(modules, keys, store)
                else:
                    rows = {
                        cell: _predict_rows(module, keys, features, store, device)
                        for cell, module in modules.items()
                    }
                    prediction = _average(rows, trained)
        except NotFiniteError as error:
            affected = not_finite or [key for key in keys if key]
            sources = [os.path.normpath(store.path / store.sidecar(key)["source"]) for key in affected]
            yield name, Rejection(name, "; ".join(sources), "finite", str(error))
            continue
        yield name, prediction


def _precision_of(probe: FinishedProbe) -> Precision:
    """Return the precision of a study."""
    precision: Precision = read_json(probe.run / "study.json", _Settings)["protocol"]["precision"]
    return precision


def _autocast(precision: Precision, device: torch.device | str) -> AbstractContextManager[Any]:
    """Return the autocast in which a study with the encoder in the loop predicts."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16)


def _extract(
    probe: FinishedProbe,
    modules: Mapping[Cell, FrozenProbeModule],
    cases: Mapping[str, Mapping[str, str]],
    store: Store,
    device: torch.device | str,
    batch_size: int,
    progress: bool,
) -> Mapping[str, Tensor] | None:
    """Return the finite features of all scans; None if the encoder is in the loop."""
    pooling = next(iter(modules.values())).pooling
    if not isinstance(pooling, Pooling) or all(module.network is not None for module in modules.values()):
        return None
    return extract(
        probe.encoder,
        store,
        [key for scans in cases.values() for key in scans.values()],
        store.path / "features",
        batch_size=batch_size,
        precision=_precision_of(probe),
        device=device,
        progress=progress,
        level=pooling.level,
        skip_non_finite=True,
    )


def _predict_rows(
    module: FrozenProbeModule,
    keys: list[str],
    features: Mapping[str, Tensor] | None,
    store: Store,
    device: torch.device | str,
) -> pd.DataFrame:
    """Return the rows of the head for one case."""
    if module.network is None:
        assert features is not None
        batch = _feature_batch(keys, features)
    else:
        batch = _slice_batch(keys, store)
    with torch.inference_mode():
        output = module.forward_batch({name: value.to(device) for name, value in batch.items()})
    if not output.isfinite().all():
        raise NotFiniteError("the output of the probe is not finite")
    return module.head.rows(output, pd.DataFrame({name: [0] for name in TRUTH}))


def _feature_batch(keys: list[str], features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return "features" (1, M, D, dim) and "mask" (1, M, D) of a case."""
    parts = [features[key].float() if key else torch.empty(0, 0) for key in keys]
    depth, width = max(map(len, parts)), max(part.shape[1] for part in parts)
    stacked, mask = torch.zeros(len(keys), depth, width), torch.zeros(len(keys), depth, dtype=torch.bool)
    for m, part in enumerate(parts):
        stacked[m, : len(part), : part.shape[1]] = part
        mask[m, : len(part)] = True
    return {"features": stacked[None], "mask": mask[None]}


def _slice_batch(keys: list[str], store: Store) -> dict[str, Tensor]:
    """Return "slices" (1, M, D, H, W), "scale", "zero_point" (1, M), "mask" (1, M, D) of a case."""
    scans = [torch.from_numpy(np.array(store.slices(key))) if key else None for key in keys]
    sidecars = [store.sidecar(key) if key else {"scale": 1.0, "zero_point": 0.0} for key in keys]
    first = next(scan for scan in scans if scan is not None)
    depth = max(len(scan) for scan in scans if scan is not None)
    slices = torch.zeros(len(keys), depth, *first.shape[1:], dtype=first.dtype)
    mask = torch.zeros(len(keys), depth, dtype=torch.bool)
    for m, scan in enumerate(scans):
        if scan is not None:
            slices[m, : len(scan)], mask[m, : len(scan)] = scan, True
            slices[m, len(scan) :] = sidecars[m]["zero_point"]
    scale, zero_point = (
        torch.tensor([[sidecar[name] for sidecar in sidecars]]) for name in ("scale", "zero_point")
    )
    return {
        "slices": slices[None],
        "scale": scale.float(),
        "zero_point": zero_point.float(),
        "mask": mask[None],
    }


def _predict_masks(modules: Mapping[Cell, FrozenProbeModule], keys: list[str], store: Store) -> Prediction:
    """Return the masks that at least half of the probes predict, and their volumes [ml]."""
    batch = {name: value[0] for name, value in _slice_batch(keys, store).items()}
    present = torch.tensor([bool(key) for key in keys])
    geometry = store.geometry(next(key for key in keys if key))
    votes: dict[str, np.ndarray] = {}
    for module in modules.values():
        predicted = case_masks(
            module, batch["slices"], batch["scale"], batch["zero_point"], present, geometry
        )
        for region, mask in predicted.items():
            votes[region] = votes.get(region, 0) + mask.astype(np.uint8)
    masks = {region: count * 2 >= len(modules) for region, count in votes.items()}
    voxel = abs(float(np.linalg.det(np.asarray(geometry.affine)[:3, :3]))) / 1000
    return Prediction(
        {f"{region}_ml": float(mask.sum()) * voxel for region, mask in masks.items()}, masks=masks
    )


def _average(rows: Mapping[Cell, pd.DataFrame], trained: Mapping[Cell, pd.DataFrame]) -> Prediction:
    """Return the average of the predictions of all cells for a case.

    Args:
        rows: cell -> rows of its head.
        trained: cell -> rows of its training cases; empty unless survival.
    """
    if trained:
        return _average_risks(rows, trained)
    tables = [table.drop(columns=list(TRUTH), errors="ignore") for table in rows.values()]
    table = pd.concat(tables, ignore_index=True)
    probabilities = [name for name in table if str(name).startswith(PROBABILITY)]
    if probabilities:
        mean = {str(name): float(table[name].mean()) for name in probabilities}
        predicted = max(mean, key=lambda name: mean[name]).removeprefix(PROBABILITY)
        return Prediction({"prediction": predicted, **mean})
    values = table["prediction"]
    spread = {"sd": float(values.std())} if len(values) > 1 else {}
    return Prediction({"prediction": float(values.mean()), **spread})


def _average_risks(rows: Mapping[Cell, pd.DataFrame], trained: Mapping[Cell, pd.DataFrame]) -> Prediction:
    times = np.unique(np.concatenate([table["time"] for table in trained.values()]))
    curves, risks = [], []
    for cell, table in rows.items():
        risk = table["risk"].to_numpy(dtype=np.float64)
        curves.append(survival_curves(risk, trained[cell], times)[0])
        risks.append(float(risk[0] - trained[cell]["risk"].median()))
    survival = np.mean(curves, axis=0)
    below = times[survival <= 0.5]
    return Prediction(
        {
            "risk": float(np.mean(risks)),
            "risk_group": "high" if np.mean(risks) > 0 else "low",
            "median_time": float(below[0]) if len(below) else None,
        },
        curve=pd.DataFrame({"time": times, "survival": survival}),
    )


def _training_rows(cell: Cell) -> pd.DataFrame:
    table, _ = cell.read()
    return table[table["split"] == "train"]
