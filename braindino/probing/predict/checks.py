"""Whether a new scan is like those that a probe was trained on: what is not is told by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd

from braindino.files import write_json
from braindino.scans.statistics import measure, more_than_brain
from braindino.scans.store.store import Store

TRAINING_SCANS = "training_scans.json"
CHECKS = ("readable", "modality", "orientation", "stripped", "spacing", "shape", "foreground", "intensity")
MEASURED = 200  # training scans per modality; the range hardly moves with more
COVERED = (0.1, 99.9)  # percentiles of the training scans that make the range
SLACK = (0.1, 0.25)  # the range is widened by so much of its larger end and of its length
AGREE = 0.9  # of the training scans, for skull stripping to be a rule of theirs
MOST_OBLIQUE = 30.0  # degrees; slices then run half way between two planes
_UNITS = {"spacing": " mm", "shape": " voxels"}


class Reference(TypedDict):
    """A modality's part of `training_scans.json`."""

    scans: int
    missing: float
    stripped: float | None
    axes: list[str]
    range: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Finding:
    """One thing that is not as in training. `refused`: the scan is not predicted unless it is accepted."""

    check: str
    told: str
    refused: bool


def keep_training_scans(
    run_dir: Path, cases: pd.DataFrame, modalities: tuple[str, ...], store: Store
) -> None:
    """Write `training_scans.json`, once: of each modality the range of every measure of the training scans.

    Args:
        cases: with `split` and `key_<modality>`.
    """
    if (run_dir / TRAINING_SCANS).is_file():
        return
    train = cases[cases["split"] == "train"]
    write_json(
        run_dir / TRAINING_SCANS,
        {name: _reference(list(train[f"key_{name}"]), store) for name in modalities},
    )


def _reference(keys: list[str], store: Store) -> dict[str, Any]:
    there = sorted({key for key in keys if key})
    chosen = [
        there[i] for i in np.unique(np.linspace(0, len(there) - 1, min(MEASURED, len(there))).astype(int))
    ]
    found = [measure(store, key) for key in chosen]
    named = [name for name in (found[0] if found else {}) if name not in ("axes", "affine_source")]
    low, high = (
        {name: float(np.percentile([each[name] for each in found], q)) for name in named} for q in COVERED
    )
    return {
        "scans": len(found),
        "missing": keys.count("") / max(len(keys), 1),
        "stripped": float(np.mean([not more_than_brain(each) for each in found])) if found else None,
        "axes": sorted({each["axes"] for each in found}),
        "range": {name: [low[name], high[name]] for name in named},
    }


def check_scan(found: Mapping[str, Any], reference: Mapping[str, Any], native: bool) -> list[Finding]:
    """What is not as in training, of a scan's measures against its modality's part of `training_scans.json`.

    Args:
        native: whether the encoder takes the axes as they are stored, so that other axes cannot be turned.
    """
    told = _orientation(found, reference, native)
    if reference["scans"] == 0 or reference["stripped"] is None:
        return told
    why = more_than_brain(dict(found))
    if why and reference["stripped"] >= AGREE:
        told.append(Finding("stripped", f"not skull-stripped, as the training scans were: {why}", True))
    if not why and reference["stripped"] <= 1 - AGREE:
        told.append(Finding("stripped", "skull-stripped, as hardly any training scan was", True))
    for check in ("spacing", "shape", "foreground", "intensity"):
        if odd := _outside(check, found, reference):
            training = f"training: {reference['scans']} scans"
            told.append(Finding(check, f"{'; '.join(odd)} ({training})", False))
    return told


def _orientation(found: Mapping[str, Any], reference: Mapping[str, Any], native: bool) -> list[Finding]:
    if native:
        if reference["axes"] and found["axes"] not in reference["axes"]:
            there = ", ".join(reference["axes"])
            said = f"stored {found['axes']}, the training scans {there}; the encoder takes axes as stored"
            return [Finding("orientation", said, True)]
        return []
    if found["affine_source"] == "none":
        return [Finding("orientation", "its header does not say how its axes lie in the room", True)]
    told = []
    if found["affine_source"] == "analyze":
        told.append(Finding("orientation", "an Analyze header does not tell left from right", False))
    if found["oblique"] > MOST_OBLIQUE:
        angle = f"its axes are {found['oblique']:.0f} degrees oblique; slices are cut along them"
        told.append(Finding("orientation", angle, False))
    return told


def _outside(check: str, found: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
    """A few words on every measure of a check that lies outside the widened range of training."""
    told = []
    for name, (low, high) in reference["range"].items():
        kind, _, part = name.partition("/")
        if kind != check or name not in found:
            continue
        slack = SLACK[0] * max(abs(low), abs(high)) + SLACK[1] * (high - low)
        if low - slack <= found[name] <= high + slack:
            continue
        what = part or "share of voxels"
        if kind == "intensity":
            what = f"{part}{'st' if part == '1' else 'th'} percentile"
        told.append(f"{what} {found[name]:.3g}{_UNITS.get(kind, '')}, not {low:.3g} to {high:.3g}")
    return told
