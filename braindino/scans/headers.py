"""Parse and check headers of NIfTI-1, NIfTI-2, Analyze 7.5 and MGH before the image is read."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from braindino.errors import HeaderError
from braindino.scans.affine import check_affine, nifti_affine

HEADER_BYTES = 544  # enough of a file to hold any of the headers
# Codes of xyzt_units: unknown (taken as mm), metre, millimetre, micron.
MM_PER_UNIT = {0: 1.0, 1: 1e3, 2: 1.0, 3: 1e-3}
PADDING_BYTES = 4096  # bytes allowed after the image
MGH_TAG_BYTES = 4 << 20  # FreeSurfer appends its command lines and tables

_NIFTI_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_NOT_A_SCAN = {
    1: "1-bit",
    32: "complex",
    128: "RGB",
    1536: "float128",
    1792: "complex",
    2048: "complex",
    2304: "RGBA",
}
_MGH_TYPES = {0: "u1", 1: "i4", 3: "f4", 4: "i2", 10: "u2"}


@dataclass(frozen=True)
class Layout:
    """Describe where an image is in the bytes of its file, and its position in space.

    Attributes:
        shape: (X, Y, Z).
        dtype: type of the stored voxels, with byte order.
        offset: bytes before the image.
        surplus: bytes that may follow the image.
        slope: value = stored * slope + intercept.
        intercept: see `slope`.
        affine: (4, 4) float64, voxel -> mm.
        affine_source: "sform", "qform", "mgh", "analyze", or "none" if the header has no position.
        detached: True if the image is in a separate file.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    surplus: int
    slope: float
    intercept: float
    affine: np.ndarray
    affine_source: str
    detached: bool

    @property
    def image_bytes(self) -> int:
        """Return the length of the image [bytes]."""
        return math.prod(self.shape) * self.dtype.itemsize


def parse_header(head: bytes) -> Layout | None:
    """Return the layout that a header declares, or None if the format is unknown.

    Args:
        head: the first HEADER_BYTES of a file.

    Raises:
        HeaderError: the format is known, but the header does not declare one 3-D image of real numbers.
    """
    with np.errstate(all="ignore"):  # damaged numbers overflow; the results are checked
        return _parse(head)


def _parse(head: bytes) -> Layout | None:
    little, big = int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")
    for order, size in (("<", little), (">", big)):
        if size == 540 and len(head) >= 540 and head[4:8] in (b"n+2\0", b"ni2\0"):
            return _nifti(head[:540], order, two=True, detached=head[4:8] == b"ni2\0")
        if size == 348 and len(head) >= 348:
            if head[344:348] in (b"n+1\0", b"ni1\0"):
                return _nifti(head[:348], order, two=False, detached=head[344:348] == b"ni1\0")
            return _analyze(head[:348], order)
    if big == 1 and len(head) >= 284:
        return _mgh(head)
    return None


def _nifti(head: bytes, order: str, two: bool, detached: bool) -> Layout:
    from nibabel import nifti1, nifti2

    kind = nifti2.Nifti2Header if two else nifti1.Nifti1Header
    header = kind(head, endianness=order, check=False)
    # Check the shape first: dcm2niix writes arbitrary affines into some 4-D files.
    shape = _shape(header["dim"])
    affine, source = nifti_affine(header)
    unit = int(header["xyzt_units"]) & 7
    affine[:3] *= MM_PER_UNIT.get(unit, 1.0)
    check_affine(affine, unit)
    slope, intercept = _scaling(header)
    lowest = 544 if two else 352
    if detached:
        lowest = 0
    return Layout(
        shape=shape,
        dtype=_nifti_dtype(header, order),
        offset=_offset(header["vox_offset"], lowest),
        surplus=PADDING_BYTES,
        slope=slope,
        intercept=intercept,
        affine=affine,
        affine_source=source,
        detached=detached,
    )


def _analyze(head: bytes, order: str) -> Layout:
    """Return the layout of Analyze 7.5 as nibabel reads it: the first axis runs to the left.

    Analyze has no orientation; SPM's convention (radiological storage, origin in a spare field) is what
    nibabel and most tools assume, and is right for OASIS-1's T88 files.
    """
    from nibabel import spm2analyze

    header = spm2analyze.Spm2AnalyzeHeader(head, endianness=order, check=False)
    shape = _shape(header["dim"])
    affine = np.asarray(header.get_best_affine(), np.float64)
    check_affine(affine, unit=2)
    slope, intercept = _scaling(header)
    return Layout(
        shape=shape,
        dtype=_nifti_dtype(header, order),
        offset=_offset(header["vox_offset"], 0),
        surplus=PADDING_BYTES,
        slope=slope,
        intercept=intercept,
        affine=affine,
        affine_source="analyze",
        detached=True,
    )


def _mgh(head: bytes) -> Layout:
    from nibabel.freesurfer.mghformat import MGHHeader

    header = MGHHeader(head[:284], check=False)
    kind = int(header["type"])
    if kind not in _MGH_TYPES:
        raise HeaderError(f"MGH data type {kind}: expected one of {', '.join(map(str, _MGH_TYPES))}")
    shape = _shape([4, *header["dims"]])
    affine = np.asarray(header.get_best_affine(), np.float64)
    check_affine(affine, unit=2)
    # goodRASFlag in the file, because nibabel replaces it by FreeSurfer's default.
    placed = int.from_bytes(head[28:30], "big") != 0
    return Layout(
        shape=shape,
        dtype=np.dtype(">" + _MGH_TYPES[kind]),
        offset=284,
        surplus=MGH_TAG_BYTES,
        slope=1.0,
        intercept=0.0,
        affine=affine,
        affine_source="mgh" if placed else "none",
        detached=False,
    )


def _shape(dim: Any) -> tuple[int, int, int]:
    """Return three positive lengths; axes of length 1 after the third are dropped."""
    axes = int(dim[0])
    if not 1 <= axes <= 7:
        raise HeaderError(f"header declares {axes} dimensions")
    lengths = [int(length) for length in dim[1 : axes + 1]]
    if min(lengths) < 1:
        raise HeaderError(f"zero-size: header declares shape {tuple(lengths)}")
    if axes < 3:
        raise HeaderError(f"{axes}-D image of shape {tuple(lengths)}, expected 3-D")
    if math.prod(lengths[3:]) > 1:
        raise HeaderError(f"4-D image of shape {tuple(lengths)}, expected one 3-D volume")
    return lengths[0], lengths[1], lengths[2]


def _nifti_dtype(header: Any, order: str) -> np.dtype[Any]:
    code, bits = int(header["datatype"]), int(header["bitpix"])
    if code in _NOT_A_SCAN:
        raise HeaderError(f"{_NOT_A_SCAN[code]} voxels (data type {code}), expected real numbers")
    if code not in _NIFTI_TYPES:
        raise HeaderError(f"unknown data type {code}")
    dtype = np.dtype(order + _NIFTI_TYPES[code])
    if bits != dtype.itemsize * 8:
        raise HeaderError(f"data type {code} has {dtype.itemsize * 8} bits, the header declares {bits}")
    return dtype


def _offset(value: Any, lowest: int) -> int:
    offset = float(value)
    if offset == 0:
        return lowest
    if not (math.isfinite(offset) and offset.is_integer() and offset >= lowest):
        raise HeaderError(f"image starts at byte {offset:g}, expected {lowest} or later")
    return int(offset)


def _scaling(header: Any) -> tuple[float, float]:
    from nibabel.spatialimages import HeaderDataError

    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise HeaderError(f"scaling: {error}") from None
    slope, intercept = 1.0 if slope is None else float(slope), 0.0 if intercept is None else float(intercept)
    if not (math.isfinite(slope) and math.isfinite(intercept)):
        raise HeaderError(f"scaling by {slope:g} and {intercept:g}")
    return slope, intercept
