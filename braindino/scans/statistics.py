"""Measure geometry, foreground and intensities of prepared scans; detect unstripped ones."""

from typing import Any

import numpy as np

from braindino.scans.store.store import Store

QUANTILES = (1, 5, 25, 50, 75, 95, 99)  # percentiles of the foreground's normalised values
THINNING = 2  # every other slice, row and column gives the same quantiles in an eighth of the time
MAX_BRAIN_ML = 2300.0  # the largest adult brains with ventricles and a margin; a head has 3000 to 5000
MAX_BRAIN_MM = 215.0  # longest side; a head with neck or nose exceeds it
MAX_FILLED = 0.85  # of the volume; a brain fills about 55 % of its bounding box, 79 % of a slice
AXES = ("slices", "rows", "columns")


def measure(store: Store, key: str) -> dict[str, Any]:
    """Return numbers that characterise a prepared scan, from the store alone.

    Args:
        store: the store.
        key: key of the scan.

    Returns:
        `spacing/<axis>` [mm], `shape/<axis>` [voxels] and `extent/<axis>` of the foreground [mm] along
        slices, rows and columns; `foreground` (share of nonzero voxels) and `volume` of the nonzero voxels
        [ml]; `intensity/<percentile>` of the normalised foreground; `oblique` [degrees]; `axes` (such as
        RAS); `affine_source`.
    """
    from nibabel.orientations import aff2axcodes

    sidecar, geometry = store.sidecar(key), store.geometry(key)
    affine = np.asarray(geometry.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    nonzero = float(sidecar["stats"]["nonzero"])
    slices = np.asarray(store.slices(key))
    level = round(sidecar["zero_point"]) if store.contract.zero_background else slices.min()
    measures: dict[str, Any] = {
        "foreground": nonzero,
        "volume": nonzero * float(np.prod(geometry.shape) * abs(np.linalg.det(affine[:3, :3]))) / 1000,
        "oblique": _oblique(affine),
        "axes": "".join(map(str, aff2axcodes(affine))),
        "affine_source": sidecar["affine_source"],
    }
    steps = np.linalg.norm(geometry.grid_affine[:3, :3], axis=0)
    foreground = slices != level
    for k, name in enumerate(AXES):
        measures[f"spacing/{name}"] = float(spacing[geometry.axes[k]])
        measures[f"shape/{name}"] = geometry.shape[geometry.axes[k]]
        measures[f"extent/{name}"] = _extent(foreground, k) * float(steps[k])
    thin = slices[(slice(None, None, THINNING if len(slices) > 8 else 1), *[slice(None, None, THINNING)] * 2)]
    values = (thin[thin != level].astype(np.float32) - sidecar["zero_point"]) * sidecar["scale"]
    quantiles = np.percentile(values, QUANTILES) if values.size else np.zeros(len(QUANTILES))
    measures |= {f"intensity/{q}": float(value) for q, value in zip(QUANTILES, quantiles, strict=True)}
    return measures


def more_than_brain(measures: dict[str, Any]) -> str:
    """Return why a scan cannot be a skull-stripped brain, or "".

    The rule compares sizes. It holds for heads of adults and children, not of newborns, and not for crops of
    a stripped brain.

    Args:
        measures: measures of the scan, from `measure`.
    """
    if measures["foreground"] > MAX_FILLED:
        return f"{measures['foreground']:.0%} of its voxels are nonzero: there is no background"
    if measures["volume"] > MAX_BRAIN_ML:
        return f"its foreground has {measures['volume'] / 1000:.1f} l, more than any brain"
    longest = max(measures[f"extent/{name}"] for name in AXES)
    if longest > MAX_BRAIN_MM:
        return f"its foreground is {longest:.0f} mm long, more than any brain"
    return ""


def _extent(foreground: np.ndarray, axis: int) -> int:
    """Return the number of planes from the first to the last with foreground."""
    plane = tuple(k for k in range(3) if k != axis)
    share = foreground.mean(axis=plane)
    planes = np.flatnonzero(share > 0.005)
    return 0 if len(planes) == 0 else int(planes[-1] - planes[0] + 1)


def _oblique(affine: np.ndarray) -> float:
    """Return the largest angle [degrees] of a stored axis to the nearest scanner axis."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0), 0, 1))).max())
