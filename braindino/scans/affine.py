"""Where a header places the voxels: its affine, held against itself before it is believed."""

import math
from typing import Any

import numpy as np

from braindino.errors import HeaderError

SPACING_MM = (0.01, 100.0)  # between voxels of any head scan; a metre or micron taken for a mm falls outside
QUATERNION_EXCESS = 1e-3  # by which the square of a qform's quaternion may exceed 1: rounding, not damage
SIZES_AGREE = 0.1  # by which part the voxel sizes of sform and qform may differ in one space


def nifti_affine(header: Any) -> tuple[np.ndarray, str]:
    """(4, 4) float64, voxel -> the header's unit, and where it was found: sform, qform or none.

    The sform when its code is set, else the qform, else the voxel sizes alone (first axis to the left): the
    order is nibabel's. When both are set, what the standard lets them differ in is left alone (the scanner's
    space and an atlas, a scan moved onto another); a header that contradicts itself is refused, as
    `_contradiction` has it. Raises HeaderError.
    """
    from nibabel.spatialimages import HeaderDataError

    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # NIfTI: a qfac of 0 means 1
    candidates: dict[str, np.ndarray] = {}
    if header["sform_code"] > 0:
        candidates["sform"] = np.asarray(header.get_sform(), np.float64)
    if header["qform_code"] > 0:
        # nibabel takes only 4e-7 for rounding and refuses what FSL and ITK scale back to 1.
        excess = float(sum(np.float64(header[f"quatern_{axis}"]) ** 2 for axis in "bcd")) - 1
        if excess > QUATERNION_EXCESS:
            raise HeaderError(f"qform: quaternion of length {math.sqrt(1 + excess):.4g}, expected at most 1")
        if excess > 0:
            header.quaternion_threshold = 2 * excess
        try:
            candidates["qform"] = np.asarray(header.get_qform(), np.float64)
        except (HeaderDataError, ValueError) as error:
            raise HeaderError(f"qform: {error}") from None
    if not candidates:
        return np.asarray(header.get_base_affine(), np.float64), "none"
    for name, affine in candidates.items():
        if not np.isfinite(affine).all():
            raise HeaderError(f"affine ({name}) holds NaN or infinity")
        if np.linalg.matrix_rank(affine[:3, :3]) < 3:
            raise HeaderError(f"singular affine ({name})")
    if len(candidates) == 2:
        said = _contradiction(header, candidates["sform"], candidates["qform"])
        if said:
            raise HeaderError(f"{said}; keep the right one alone (its code above 0, the other's 0)")
    source = "sform" if "sform" in candidates else "qform"
    return candidates[source], source


def _contradiction(header: Any, sform: np.ndarray, qform: np.ndarray) -> str:
    """What sform and qform, both set, cannot both be right about, or nothing.

    - Which way an axis runs: they may never differ in it, or nobody can say which side is left.
    - Voxel sizes, beyond SIZES_AGREE: both are of one head, unless the space of the sform is an atlas (code 3
      or more), whose millimetres are not the scanner's.
    - Where voxels lie, when both have the same code and so speak of one space: a corner of the volume may be
      off by one voxel. Shears do not count; a qform cannot hold them.

    With codes that differ (scanner 1, aligned 2, atlas 3 to 5) any movement between the two is legitimate:
    registrations are written so. Of other tools, MRtrix and fMRIPrep go on with the sform and warn, ITK takes
    the sform where it is rigid.
    """
    from nibabel.orientations import aff2axcodes

    ways = {name: "".join(aff2axcodes(affine)) for name, affine in (("sform", sform), ("qform", qform))}
    if ways["sform"] != ways["qform"]:
        return f"sform says {ways['sform']} and qform says {ways['qform']}: which way axes run is unknown"
    spacing, other = (np.linalg.norm(affine[:3, :3], axis=0) for affine in (sform, qform))
    if header["sform_code"] <= 2 and (np.abs(spacing - other) > SIZES_AGREE * other).any():
        sizes = [" x ".join(f"{size:.4g}" for size in found) for found in (spacing, other)]
        return f"sform says voxels of {sizes[0]} and qform says {sizes[1]}"
    if header["sform_code"] == header["qform_code"]:
        rigid = header.copy()
        rigid.set_qform(sform, 1, strip_shears=True)
        lengths = [int(n) for n in header["dim"][1:4]]
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in lengths], [1], indexing="ij")).reshape(4, -1)
        away = np.linalg.norm(((rigid.get_qform() - qform) @ corners)[:3], axis=0).max()
        if not away <= spacing.max():
            return f"sform and qform, both of code {int(header['sform_code'])}, lie {away:.3g} mm apart"
    return ""


def check_affine(affine: np.ndarray, unit: int) -> None:
    """Raise HeaderError for an affine (to mm) that no scan of a head has; `unit` is the header's code."""
    if not np.isfinite(affine).all():
        raise HeaderError("affine holds NaN or infinity")
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not ((spacing >= SPACING_MM[0]) & (spacing <= SPACING_MM[1])).all():
        declared = {1: " (the header's unit is the metre)", 3: " (the header's unit is the micron)"}.get(
            unit, ""
        )
        sizes = " x ".join(f"{size:.4g}" for size in spacing)
        raise HeaderError(
            f"voxels of {sizes} mm{declared}, expected {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm each way"
        )
    if abs(np.linalg.det(affine[:3, :3] / spacing)) < 1e-3:
        raise HeaderError("singular affine: its axes lie in one plane")
