"""Read the affine of a NIfTI header and reject one that is damaged or contradicts itself."""

import math
from typing import Any

import numpy as np

from braindino.errors import HeaderError

SPACING_MM = (0.01, 100.0)  # of any head scan; metres or microns mistaken for mm are outside
QUATERNION_EXCESS = 1e-3  # excess over 1 of the squared qform quaternion that counts as rounding
SIZES_AGREE = 0.1  # relative difference allowed between voxel sizes of sform and qform in one space


def nifti_affine(header: Any) -> tuple[np.ndarray, str]:
    """Return the affine of a NIfTI header and its source.

    The sform is used when its code is set, else the qform, else the voxel sizes alone (first axis to the
    left), in nibabel's order. When both are set, differences that the standard allows are accepted (the
    scanner's space and an atlas, a scan moved onto another); contradictions are rejected, see
    `_contradiction`.

    Args:
        header: a NIfTI header of nibabel. Its qfac and its quaternion threshold may be changed.

    Returns:
        (4, 4) float64, voxel -> the header's unit; and "sform", "qform" or "none".

    Raises:
        HeaderError: the affine is not finite, is singular, or sform and qform contradict each other.
    """
    if header["pixdim"][0] == 0:
        header["pixdim"][0] = 1  # NIfTI: a qfac of 0 means 1
    candidates: dict[str, np.ndarray] = {}
    if header["sform_code"] > 0:
        candidates["sform"] = np.asarray(header.get_sform(), np.float64)
    if header["qform_code"] > 0:
        candidates["qform"] = _qform(header)
    if not candidates:
        return np.asarray(header.get_base_affine(), np.float64), "none"
    for name, affine in candidates.items():
        if not np.isfinite(affine).all():
            raise HeaderError(f"affine ({name}) contains NaN or infinity")
        if np.linalg.matrix_rank(affine[:3, :3]) < 3:
            raise HeaderError(f"singular affine ({name})")
    if len(candidates) == 2:
        problem = _contradiction(header, candidates["sform"], candidates["qform"])
        if problem:
            raise HeaderError(f"{problem}; keep only the right one (its code above 0, the other's 0)")
    source = "sform" if "sform" in candidates else "qform"
    return candidates[source], source


def _qform(header: Any) -> np.ndarray:
    """Return the qform, (4, 4) float64; a quaternion slightly longer than 1 is accepted."""
    from nibabel.spatialimages import HeaderDataError

    # nibabel accepts only 4e-7 as rounding and rejects quaternions that FSL and ITK scale back to 1.
    excess = float(sum(np.float64(header[f"quatern_{axis}"]) ** 2 for axis in "bcd")) - 1
    if excess > QUATERNION_EXCESS:
        raise HeaderError(f"qform: quaternion of length {math.sqrt(1 + excess):.4g}, expected at most 1")
    if excess > 0:
        header.quaternion_threshold = 2 * excess
    try:
        return np.asarray(header.get_qform(), np.float64)
    except (HeaderDataError, ValueError) as error:
        raise HeaderError(f"qform: {error}") from None


def _contradiction(header: Any, sform: np.ndarray, qform: np.ndarray) -> str:
    """Return in which way sform and qform, both set, contradict each other, or "".

    - The direction of an axis must agree, or left and right cannot be distinguished.
    - Voxel sizes must agree within SIZES_AGREE, unless the space of the sform is an atlas (code 3 or more),
      whose millimetres are not the scanner's.
    - Positions must agree when both have the same code and so describe one space: a corner of the volume may
      be off by one voxel. Shears do not count; a qform cannot represent them.

    With different codes (scanner 1, aligned 2, atlas 3 to 5) any movement between the two is legitimate, as
    registrations write it. Among other tools, MRtrix and fMRIPrep use the sform with a warning, and ITK uses
    the sform where it is rigid.
    """
    from nibabel.orientations import aff2axcodes

    ways = {name: "".join(aff2axcodes(affine)) for name, affine in (("sform", sform), ("qform", qform))}
    if ways["sform"] != ways["qform"]:
        return f"sform gives {ways['sform']} and qform gives {ways['qform']}: direction of axes unknown"
    spacing, other = (np.linalg.norm(affine[:3, :3], axis=0) for affine in (sform, qform))
    if header["sform_code"] <= 2 and (np.abs(spacing - other) > SIZES_AGREE * other).any():
        sizes = [" x ".join(f"{size:.4g}" for size in lengths) for lengths in (spacing, other)]
        return f"sform gives voxels of {sizes[0]} and qform gives {sizes[1]}"
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
    """Raise HeaderError for an affine that no scan of a head can have.

    Args:
        affine: (4, 4), voxel -> mm.
        unit: code of the unit in the header, for the message.
    """
    if not np.isfinite(affine).all():
        raise HeaderError("affine contains NaN or infinity")
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
