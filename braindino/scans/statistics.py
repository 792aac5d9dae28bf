"""What a prepared scan is like: geometry, foreground, intensities; and whether it can be a brain alone."""

from typing import Any

import numpy as np

from braindino.scans.geometry import Geometry
from braindino.scans.store.store import Store

QUANTILES = (1, 5, 25, 50, 75, 95, 99)  # percentiles of the foreground's normalised values
THINNING = 2  # every other slice, row and column gives the same quantiles in an eighth of the time
MOST_BRAIN_ML = 2300.0  # the largest adult brains with ventricles and some margin; a head has 3000 to 5000
MOST_BRAIN_MM = 215.0  # longest side; a head with neck or nose exceeds it
MOST_FILLED = 0.85  # of the volume; a brain fills about 55 % of its bounding box, of a slice 79 %
AXES = ("slices", "rows", "columns")


def measure(store: Store, key: str) -> dict[str, Any]:
    """Numbers that tell a scan from others, from the store alone.

    `spacing/<axis>`, `shape/<axis>`, `extent/<axis>` (mm, mm, of the foreground) along slices, rows and
    columns; `foreground` (share of nonzero voxels), `volume` (ml of them), `intensity/<percentile>` of the
    normalised foreground, `oblique` (degrees), `axes` (such as RAS), `affine_source`.
    """
    from nibabel.orientations import aff2axcodes

    sidecar, geometry = store.sidecar(key), store.geometry(key)
    affine = np.asarray(geometry.affine)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    nonzero = float(sidecar["stats"]["nonzero"])
    slices = np.asarray(store.slices(key))
    level = round(sidecar["zero_point"]) if store.contract.zero_background else slices.min()
    found: dict[str, Any] = {
        "foreground": nonzero,
        "volume": nonzero * float(np.prod(geometry.shape) * abs(np.linalg.det(affine[:3, :3]))) / 1000,
        "oblique": _oblique(affine),
        "axes": "".join(map(str, aff2axcodes(affine))),
        "affine_source": sidecar["affine_source"],
    }
    steps = np.linalg.norm(geometry.grid_affine[:3, :3], axis=0)
    held = slices != level
    for k, name in enumerate(AXES):
        found[f"spacing/{name}"] = float(spacing[geometry.axes[k]])
        found[f"shape/{name}"] = geometry.shape[geometry.axes[k]]
        found[f"extent/{name}"] = _extent(held, k, geometry) * float(steps[k])
    thin = slices[(slice(None, None, THINNING if len(slices) > 8 else 1), *[slice(None, None, THINNING)] * 2)]
    values = (thin[thin != level].astype(np.float32) - sidecar["zero_point"]) * sidecar["scale"]
    quantiles = np.percentile(values, QUANTILES) if values.size else np.zeros(len(QUANTILES))
    found |= {f"intensity/{q}": float(value) for q, value in zip(QUANTILES, quantiles, strict=True)}
    return found


def more_than_brain(found: dict[str, Any]) -> str:
    """Why a scan of these measures cannot be a skull-stripped brain, or nothing.

    A rule of sizes: it knows the heads of adults and children, not those of newborns, and not a crop of a
    stripped brain.
    """
    if found["foreground"] > MOST_FILLED:
        return f"{found['foreground']:.0%} of its voxels are nonzero: there is no background"
    if found["volume"] > MOST_BRAIN_ML:
        return f"its foreground has {found['volume'] / 1000:.1f} l, more than any brain"
    longest = max(found[f"extent/{name}"] for name in AXES)
    if longest > MOST_BRAIN_MM:
        return f"its foreground is {longest:.0f} mm long, more than any brain"
    return ""


def _extent(held: np.ndarray, axis: int, geometry: Geometry) -> int:
    """Planes from the first to the last that hold foreground, a few stray voxels aside."""
    others = tuple(k for k in range(3) if k != axis)
    share = held.mean(axis=others)
    planes = np.flatnonzero(share > 0.005)
    return 0 if len(planes) == 0 else int(planes[-1] - planes[0] + 1)


def _oblique(affine: np.ndarray) -> float:
    """The largest angle (degrees) between a stored axis and the nearest axis of the room."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.degrees(np.arccos(np.clip(np.abs(directions).max(axis=0), 0, 1))).max())
