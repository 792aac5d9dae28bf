"""Choose among the volumes that dcm2niix writes for one series."""

import hashlib
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from braindino.errors import ScanError
from braindino.scans.headers import Layout
from braindino.scans.reading import read_header, read_scan

# Volumes in which dcm2niix has corrected uneven slices or a tilted gantry.
CORRECTED = re.compile(r"(_(Eq|Tilt)(_\d+)?)+(?=\.nii\.gz$)")
_SUFFIX = {"phase": r"_ph(?![a-z])", "real": r"_real", "imaginary": r"_imaginary"}
_WORDS = {"phase": ("P", "PHASE"), "real": ("R", "REAL"), "imaginary": ("I", "IMAGINARY")}
Candidate = tuple[Path, dict[str, Any]]


def part_of(volume: Path, facts: dict[str, Any]) -> str:
    """Return "magnitude", "phase", "real" or "imaginary", by ImageType and suffix."""
    words = {str(word).upper().replace("_", " ") for word in list(facts.get("ImageType") or ())[2:]}
    name = volume.name.removesuffix(".nii.gz")
    for part, suffix in _SUFFIX.items():
        is_named = re.search(suffix + r"(_|\d|$)", name) is not None
        if is_named or words & set(_WORDS[part]) or (part == "phase" and "PHASE MAP" in words):
            return part
    return "magnitude"


def choose_volume(candidates: Sequence[Candidate]) -> tuple[Path, dict[str, Any], str, str]:
    """Choose the volume that represents a series.

    The order of preference is: a magnitude image; the volume that dcm2niix has interpolated to even distances
    where slices are missing; a 3-D image; the largest number of voxels; the first echo.

    Args:
        candidates: volumes of the series, each with dcm2niix' JSON.

    Returns:
        The volume, its JSON, a note on excluded volumes ("" if none), and why the volume is not a scan ("" if
        it is one).
    """

    def rank(candidate: Candidate) -> tuple[Any, ...]:
        volume, facts = candidate
        layout, _ = _layout(volume)
        return (
            part_of(volume, facts) != "magnitude",
            not CORRECTED.search(volume.name),
            layout is None,
            -math.prod(layout.shape) if layout else 0,
            facts.get("EchoNumber") or 0,
            facts.get("EchoTime") or 0,
            volume.name,
        )

    volume, facts = min(candidates, key=rank)
    part = part_of(volume, facts)
    counts = [part_of(*candidate) for candidate in candidates]
    listed = ", ".join(f"{counts.count(name)} {name}" for name in dict.fromkeys(sorted(counts)))
    note = f"{len(candidates)} volumes in the series ({listed}), the largest {part} taken"
    _, reason = _layout(volume)
    if part != "magnitude":
        reason = f"{part} image, and no magnitude in the series"
    return volume, facts, note if len(candidates) > 1 else "", reason


def content_of(volume: Path) -> str:
    """Return a digest of a volume's voxels and affine, or "" if it cannot be read."""
    try:
        scan = read_scan(volume)
    except ScanError:
        return ""
    digest = hashlib.sha256(scan.affine.round(3).tobytes())
    digest.update(scan.data.tobytes(order="F"))
    return digest.hexdigest()[:32]


def _layout(volume: Path) -> tuple[Layout | None, str]:
    """Return the layout of a volume's header, or None and why it is not a scan."""
    try:
        return read_header(volume), ""
    except ScanError as error:
        return None, error.reason
