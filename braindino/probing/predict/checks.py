"""Comparison of a new scan with the training scans of a probe."""

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
# Training scans per modality; the range hardly changes with more.
MAX_MEASURED = 200
# Percentiles of the training scans between which the range lies.
COVERED = (0.1, 99.9)
# Widening of the range, as shares of its larger end and of its length.
SLACK = (0.1, 0.25)
# Share of the training scans for which skull stripping is a rule.
MIN_AGREEMENT = 0.9
# Degrees; at larger angles slices lie between two planes.
MAX_OBLIQUE = 30.0
_UNITS = {"spacing": " mm", "shape": " voxels"}


class Reference(TypedDict):
    """The part of `training_scans.json` for a modality.

    Attributes:
        scans: number of measured training scans.
        missing: share of the training cases without the modality.
        stripped: share of the training scans that are skull-stripped; None without scans.
        axes: orientations of the stored axes, as RAS.
        range: name of a measure -> its low and high end.
    """

    scans: int
    missing: float
    stripped: float | None
    axes: list[str]
    range: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Deviation:
    """A property of a case or scan that differs from the training data.

    Attributes:
        check: name of the check, one of `CHECKS`.
        message: the difference.
        rejects: whether the case is rejected unless the user accepts the check.
    """

    check: str
    message: str
    rejects: bool


def write_training_scans(
    run_dir: Path, cases: pd.DataFrame, modalities: tuple[str, ...], store: Store
) -> None:
    """Write `training_scans.json`, unless it exists: ranges of measures of the training scans.

    Args:
        run_dir: run folder.
        cases: the cases, with `split` and `key_<modality>`.
        modalities: the scans of a case.
        store: store that contains the scans.
    """
    if (run_dir / TRAINING_SCANS).is_file():
        return
    train = cases[cases["split"] == "train"]
    write_json(
        run_dir / TRAINING_SCANS,
        {name: _reference(list(train[f"key_{name}"]), store) for name in modalities},
    )


def _reference(keys: list[str], store: Store) -> dict[str, Any]:
    present = sorted({key for key in keys if key})
    chosen = [present[i] for i in _spread(len(present))]
    measured = [measure(store, key) for key in chosen]
    names = [name for name in (measured[0] if measured else {}) if name not in ("axes", "affine_source")]
    low, high = (
        {name: float(np.percentile([scan[name] for scan in measured], q)) for name in names} for q in COVERED
    )
    stripped = [not more_than_brain(scan) for scan in measured]
    return {
        "scans": len(measured),
        "missing": keys.count("") / max(len(keys), 1),
        "stripped": float(np.mean(stripped)) if stripped else None,
        "axes": sorted({scan["axes"] for scan in measured}),
        "range": {name: [low[name], high[name]] for name in names},
    }


def _spread(count: int) -> np.ndarray:
    """Return the indices of the scans that are measured, at even distances."""
    return np.unique(np.linspace(0, count - 1, min(MAX_MEASURED, count)).astype(int))


def check_scan(measures: Mapping[str, Any], reference: Mapping[str, Any], native: bool) -> list[Deviation]:
    """Return the deviations of a scan from the training scans of its modality.

    Args:
        measures: measures of the scan; see `measure`.
        reference: the modality's part of `training_scans.json`; see `Reference`.
        native: whether the encoder takes the axes as they are stored, so that they cannot be reoriented.
    """
    deviations = _check_orientation(measures, reference, native)
    if reference["scans"] == 0 or reference["stripped"] is None:
        return deviations
    head = more_than_brain(dict(measures))
    if head and reference["stripped"] >= MIN_AGREEMENT:
        message = f"not skull-stripped, as the training scans were: {head}"
        deviations.append(Deviation("stripped", message, True))
    if not head and reference["stripped"] <= 1 - MIN_AGREEMENT:
        deviations.append(Deviation("stripped", "skull-stripped, as hardly any training scan was", True))
    for check in ("spacing", "shape", "foreground", "intensity"):
        if outside := _outside(check, measures, reference):
            training = f"training: {reference['scans']} scans"
            deviations.append(Deviation(check, f"{'; '.join(outside)} ({training})", False))
    return deviations


def _check_orientation(
    measures: Mapping[str, Any], reference: Mapping[str, Any], native: bool
) -> list[Deviation]:
    if native:
        if reference["axes"] and measures["axes"] not in reference["axes"]:
            stored = f"stored {measures['axes']}, the training scans {', '.join(reference['axes'])}"
            message = f"{stored}; the encoder takes axes as stored"
            return [Deviation("orientation", message, True)]
        return []
    if measures["affine_source"] == "none":
        return [Deviation("orientation", "its header has no orientation of its axes", True)]
    deviations = []
    if measures["affine_source"] == "analyze":
        message = "an Analyze header does not distinguish left from right"
        deviations.append(Deviation("orientation", message, False))
    if measures["oblique"] > MAX_OBLIQUE:
        message = f"its axes are {measures['oblique']:.0f} degrees oblique; slices are cut along them"
        deviations.append(Deviation("orientation", message, False))
    return deviations


def _outside(check: str, measures: Mapping[str, Any], reference: Mapping[str, Any]) -> list[str]:
    """Describe every measure of a check that lies outside of the widened range of training."""
    descriptions = []
    for name, (low, high) in reference["range"].items():
        kind, _, part = name.partition("/")
        if kind != check or name not in measures:
            continue
        slack = SLACK[0] * max(abs(low), abs(high)) + SLACK[1] * (high - low)
        if low - slack <= measures[name] <= high + slack:
            continue
        label = part or "share of voxels"
        if kind == "intensity":
            label = f"{part}{'st' if part == '1' else 'th'} percentile"
        unit = _UNITS.get(kind, "")
        descriptions.append(f"{label} {measures[name]:.3g}{unit}, not {low:.3g} to {high:.3g}")
    return descriptions
