"""Finished probes on new cases: all seeds and folds answer together, without a truth to compare with."""

import os
from collections.abc import Iterator, Mapping
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
from braindino.probing.module import FrozenProbeModule
from braindino.probing.pooling import Pooling
from braindino.probing.predict.inputs import Refused
from braindino.probing.predict.probe import FinishedProbe
from braindino.scans.store.store import Store

TRUTH = ("target", "time", "event")  # columns of a head's rows that a new case has none of


class _Protocol(TypedDict):
    precision: Literal["float32", "bfloat16"]


class _Settings(TypedDict):
    """What of study.json says how features are made."""

    protocol: _Protocol


@dataclass
class Answer:
    """What the probes say of one case.

    columns: of a row of predictions.csv. curve: of survival, `time` and `survival`. masks: of a segmentation,
    region -> (X, Y, Z) bool in the space of the case's first scan.
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
) -> Iterator[tuple[str, Answer | Refused]]:
    """The answer to each case, in their order; a case whose features or answer are not finite is refused.

    Several probes (seeds, folds) are averaged: probabilities; numbers, with their deviation in `sd`; survival
    curves, and risks relative to the median risk of each probe's training cases. A mask is what most of them
    (half counts) hold to be the region.

    Args:
        cases: name -> modality -> key in the store, which was prepared by the encoder's contract.
        batch_size: slices per forward of the encoder.
    """
    modules = {cell: module.to(device) for cell, module in probe.modules.items()}
    pooling = next(iter(modules.values())).pooling
    if isinstance(pooling, Pooling) and any(module.network is None for module in modules.values()):
        precision: Precision = read_json(probe.run / "study.json", _Settings)["protocol"]["precision"]
        keys = [key for scans in cases.values() for key in scans.values()]
        features: Mapping[str, Tensor] = extract(
            probe.encoder, store, keys, store.path / "features", batch_size=batch_size,
            precision=precision, device=device, progress=progress, level=pooling.level, leave_out=True,
        )  # fmt: skip
    else:
        keys, features = [], {}
        probe.encoder.to(device)
    trained = {cell: _training_rows(cell) for cell in modules} if probe.task == "survival" else {}
    lost = set(keys) - features.keys()
    for name, scans in cases.items():
        keys = [scans.get(modality, "") for modality in probe.modalities]
        try:
            if lost & set(keys):
                raise NotFiniteError("what the encoder makes of it is not finite")
            if probe.task == "segmentation":
                yield name, _masked(modules, keys, store)
                continue
            rows = {}
            for cell, module in modules.items():
                batch = _kept(keys, features) if module.network is None else _sliced(keys, store)
                with torch.inference_mode():
                    output = module.answer({part: value.to(device) for part, value in batch.items()})
                if not output.isfinite().all():
                    raise NotFiniteError("what the probe makes of it is not finite")
                rows[cell] = module.head.rows(output, pd.DataFrame({part: [0] for part in TRUTH}))
        except NotFiniteError as error:
            odd = [key for key in keys if key in lost] or [key for key in keys if key]
            sources = "; ".join(os.path.normpath(store.path / store.sidecar(key)["source"]) for key in odd)
            yield name, Refused(name, sources, "finite", str(error))
            continue
        yield name, _together(rows, trained)


def _kept(keys: list[str], features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A case's features (1, M, D, dim), and the mask (1, M, D) of slices that are there."""
    there = [features[key].float() if key else torch.empty(0, 0) for key in keys]
    depth, width = max(map(len, there)), max(part.shape[1] for part in there)
    stacked, mask = torch.zeros(len(keys), depth, width), torch.zeros(len(keys), depth, dtype=torch.bool)
    for m, part in enumerate(there):
        stacked[m, : len(part), : part.shape[1]] = part
        mask[m, : len(part)] = True
    return {"features": stacked[None], "mask": mask[None]}


def _sliced(keys: list[str], store: Store) -> dict[str, Tensor]:
    """A case's slices (1, M, D, H, W) as stored, how to decode them, which are there."""
    scans = [torch.from_numpy(np.array(store.slices(key))) if key else None for key in keys]
    facts = [store.sidecar(key) if key else {"scale": 1.0, "zero_point": 0.0} for key in keys]
    first = next(scan for scan in scans if scan is not None)
    depth = max(len(scan) for scan in scans if scan is not None)
    slices = torch.zeros(len(keys), depth, *first.shape[1:], dtype=first.dtype)
    mask = torch.zeros(len(keys), depth, dtype=torch.bool)
    for m, scan in enumerate(scans):
        if scan is not None:
            slices[m, : len(scan)], mask[m, : len(scan)] = scan, True
            slices[m, len(scan) :] = facts[m]["zero_point"]
    scale, zero_point = (torch.tensor([[fact[name] for fact in facts]]) for name in ("scale", "zero_point"))
    return {
        "slices": slices[None],
        "scale": scale.float(),
        "zero_point": zero_point.float(),
        "mask": mask[None],
    }


def _masked(modules: Mapping[Cell, FrozenProbeModule], keys: list[str], store: Store) -> Answer:
    from braindino.probing.evaluation import case_masks

    batch = {name: value[0] for name, value in _sliced(keys, store).items()}
    present = torch.tensor([bool(key) for key in keys])
    geometry = store.geometry(next(key for key in keys if key))
    votes: dict[str, np.ndarray] = {}
    for module in modules.values():
        drawn = case_masks(module, batch["slices"], batch["scale"], batch["zero_point"], present, geometry)
        for region, mask in drawn.items():
            votes[region] = votes.get(region, 0) + mask.astype(np.uint8)
    masks = {region: count * 2 >= len(modules) for region, count in votes.items()}
    voxel = abs(float(np.linalg.det(np.asarray(geometry.affine)[:3, :3]))) / 1000
    return Answer({f"{region}_ml": float(mask.sum()) * voxel for region, mask in masks.items()}, masks=masks)


def _together(rows: Mapping[Cell, pd.DataFrame], trained: Mapping[Cell, pd.DataFrame]) -> Answer:
    """One answer from the rows that the heads of all cells make of a case."""
    tables = [table.drop(columns=list(TRUTH), errors="ignore") for table in rows.values()]
    both = pd.concat(tables, ignore_index=True)
    probabilities = [name for name in both if str(name).startswith(PROBABILITY)]
    if probabilities:
        mean = {str(name): float(both[name].mean()) for name in probabilities}
        answer = max(mean, key=lambda name: mean[name]).removeprefix(PROBABILITY)
        return Answer({"prediction": answer, **mean})
    if not trained:
        values = both["prediction"]
        spread = {"sd": float(values.std())} if len(values) > 1 else {}
        return Answer({"prediction": float(values.mean()), **spread})
    times = np.unique(np.concatenate([table["time"] for table in trained.values()]))
    curves, risks = [], []
    for cell, table in rows.items():
        risk = table["risk"].to_numpy(dtype=np.float64)
        curves.append(survival_curves(risk, trained[cell], times)[0])
        risks.append(float(risk[0] - trained[cell]["risk"].median()))
    survival = np.mean(curves, axis=0)
    below = times[survival <= 0.5]
    return Answer(
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
