"""Read one scan from disk, check every byte, and describe any problem in one sentence."""

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from braindino.errors import HeaderError, ScanError, TooLargeError
from braindino.files import describe_special_file
from braindino.scans.content import SNIFF_BYTES, describe_content, describe_pointer
from braindino.scans.headers import HEADER_BYTES, Layout, parse_header

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz", ".mgh", ".mgz")
_CHUNK = 4 << 20
_DEFLATE_LIMIT = 1032  # maximum expansion of a deflate stream
MAX_VOXELS = 2**28  # 645 voxels each way, more than any scan of a living head; takes 5 GB to prepare
_FLOAT32_EXACT = 2**24  # integers up to here are exact in float32
_GREY_LEVELS = 1000  # that must stay distinct in float32


@dataclass
class Scan:
    """Hold one 3-D image as stored on disk.

    Attributes:
        data: (X, Y, Z) float32, scaled by the header's slope and intercept, finite.
        affine: (4, 4) float64, voxel -> mm.
        path: the file.
        sha256: digest of the file's bytes; for a pair, of the header's followed by the image's.
        affine_source: "sform", "qform", "mgh", "analyze", or "none".
    """

    data: np.ndarray
    affine: np.ndarray
    path: Path
    sha256: str
    affine_source: str = "sform"

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Return the distance between voxel centres [mm] along each stored axis."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)


def read_scan(path: Path | str, max_voxels: int = MAX_VOXELS) -> Scan:
    """Read NIfTI-1 or -2 (one file or a pair), Analyze 7.5 or MGH, compressed or not.

    The format is detected by content. The whole stream is decompressed and its checksum verified. The
    declared size is compared with the size of the file before memory is allocated, so that a damaged header
    costs no more than the file's real size. The affine is the sform, else the qform (as in nibabel;
    contradictions are rejected, see `affine`), in mm (metres and microns are converted). Axes of length 1
    after the third are dropped. Values are scaled in float64 and returned as float32; a scan whose values
    float32 cannot distinguish is rejected.

    Args:
        path: the file, or either file of a pair.
        max_voxels: a scan of more voxels is rejected before memory is allocated.

    Returns:
        The scan, with the digest of its files.

    Raises:
        ScanError: the file is not one 3-D image of finite real numbers; with the reason.
    """
    path = Path(path)
    with _errors_naming(path):
        layout = _header(path)
        image = files_of(path)[-1]
        _check_size(image, layout, max_voxels)
        content = _image(image, layout)
        digest = _digest(path)
    return Scan(_values(content, layout, path), layout.affine, path, digest, layout.affine_source)


def read_header(path: Path | str) -> Layout:
    """Return the layout that a scan's header declares, without reading the image.

    Raises:
        ScanError: the file cannot be read, or its header is not one of a scan.
    """
    with _errors_naming(Path(path)):
        return _header(Path(path))


def content_digest(path: Path | str) -> str:
    """Return `Scan.sha256` of a file without parsing it.

    Raises:
        ScanError: the file cannot be read.
    """
    with _errors_naming(Path(path)):
        return _digest(Path(path))


def files_of(path: Path) -> list[Path]:
    """Return the files of a scan: itself, or header and image of a pair (named by either)."""
    match = re.fullmatch(r"(.*)\.(hdr|img|HDR|IMG)(\.gz)?", path.name)
    if match is None:
        return [path]
    name, suffix, packed = match[1], match[2], match[3] or ""
    other = {"hdr": "img", "img": "hdr", "HDR": "IMG", "IMG": "HDR"}[suffix]
    # Archives from old systems mix upper and lower case: x.HDR beside x.img.
    partners = [path.with_name(f"{name}.{each}{packed}") for each in (other, other.swapcase())]
    partner = next((file for file in partners if file.exists()), partners[0])
    return [path, partner] if suffix.lower() == "hdr" else [partner, path]


class Signature(NamedTuple):
    """Identify the state of a scan's files by their metadata, to detect changes.

    Attributes:
        bytes: length, of both files of a pair.
        mtime_ns: time of the latest change of content [ns]; copying tools can set it.
        ctime_ns: time of the latest change of content, name or permissions [ns]; no tool can set it.
        inode: number of the file (for a pair, the sum): a file that replaces another has a new one.
    """

    bytes: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Signature":
        """Return the signature in a ledger record, with -1 for fields that older records lack."""
        numbers = (record.get(name) for name in cls._fields)
        return cls(*(number if isinstance(number, int) else -1 for number in numbers))


MISSING = Signature(-1, -1, -1, -1)


def signature(path: Path | str) -> Signature:
    """Return the signature of a scan's files, MISSING when one of them does not exist."""
    try:
        stats = [file.stat() for file in files_of(Path(path))]
    except (OSError, ValueError):  # a NUL in a name is a ValueError
        return MISSING
    return Signature(
        bytes=sum(s.st_size for s in stats),
        mtime_ns=max(s.st_mtime_ns for s in stats),
        ctime_ns=max(s.st_ctime_ns for s in stats),
        inode=sum(s.st_ino for s in stats),
    )


@contextmanager
def _errors_naming(path: Path) -> Iterator[None]:
    """Convert every error of reading into a ScanError that names `path`."""
    try:
        yield
    except HeaderError as error:
        raise ScanError(path, str(error)) from None
    except TooLargeError as error:
        raise TooLargeError(path, error.reason, error.voxels) from None
    except ScanError as error:
        raise ScanError(path, error.reason, error.lasting) from None
    except PermissionError:
        raise ScanError(path, "no permission to read it", lasting=False) from None
    except OSError as error:
        raise ScanError(path, f"cannot be read: {error.strerror or error}", lasting=False) from None


def _header(path: Path) -> Layout:
    files = files_of(path)
    for file in files:
        _check_file(file)
    with _decompressed(files[0]) as (stream, packed):
        head = stream.read(max(HEADER_BYTES, SNIFF_BYTES))
    layout = parse_header(head[:HEADER_BYTES])
    if layout is None:
        what = describe_content(head)
        if packed and what == "gzip":
            raise ScanError(path, "gzip in gzip: compressed twice; unpack it once with gunzip")
        raise ScanError(path, "neither NIfTI, Analyze nor MGH" + (f", but {what}" if what else ""))
    if layout.detached != (len(files) == 2):
        expected = "a pair of .hdr and .img" if layout.detached else "a single file"
        raise ScanError(path, f"the header belongs to {expected}")
    return layout


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for file in files_of(path):
        if special := describe_special_file(file):
            raise ScanError(file, special)
        with file.open("rb") as raw:
            while block := raw.read(_CHUNK):
                digest.update(block)
    return digest.hexdigest()


def _check_file(file: Path) -> None:
    """Raise ScanError unless a file exists, is regular and has content of its own."""
    if file.is_symlink() and not file.exists():
        raise ScanError(file, f"broken link to {file.readlink()} (content not fetched?)", lasting=False)
    if not file.exists():
        raise ScanError(file, f"there is no file {file.name}", lasting=False)
    if special := describe_special_file(file):
        raise ScanError(file, special)
    if file.stat().st_size == 0:
        raise ScanError(file, "empty file")
    if pointer := describe_pointer(file):
        raise ScanError(file, pointer)


@contextmanager
def _decompressed(file: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """Open a file, decompressed if it is gzip; the second value is True for gzip."""
    import gzip

    from isal import igzip, igzip_lib

    with file.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            yield raw, False
            return
        try:
            with igzip.IGzipFile(fileobj=raw, mode="rb") as stream:
                yield stream, True
        except EOFError:
            raise ScanError(file, "truncated: the gzip stream ends too early") from None
        except (gzip.BadGzipFile, igzip_lib.IsalError) as error:  # type: ignore[misc]  # isal's stub
            raise ScanError(file, f"damaged gzip stream: {error}") from None


def _check_size(file: Path, layout: Layout, max_voxels: int) -> None:
    """Raise ScanError if a file is shorter than its image, or the image is too large."""
    needed, length = layout.offset + layout.image_bytes, file.stat().st_size
    with file.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    if needed > (length * _DEFLATE_LIMIT if packed else length):
        raise ScanError(file, f"truncated: the header declares {needed} bytes, the file has {length}")
    voxels = math.prod(layout.shape)
    if voxels > max_voxels:
        size = " x ".join(map(str, layout.shape))
        raise TooLargeError(
            file,
            f"{size} = {voxels} voxels, more than the {max_voxels} that are read "
            "(`prepare --max_voxels` sets the limit)",
            voxels,
        )


def _image(file: Path, layout: Layout) -> bytearray:
    """Return the bytes of the image after reading the whole stream and verifying its checksum."""
    needed = layout.offset + layout.image_bytes
    with _decompressed(file) as (stream, packed):
        start = layout.offset
        while start and (skipped := stream.read(min(start, _CHUNK))):
            start -= len(skipped)
        content = bytearray()
        while len(content) < layout.image_bytes:
            block = stream.read(min(layout.image_bytes - len(content), _CHUNK))
            if not block:
                present = layout.offset - start + len(content)
                raise ScanError(
                    file, f"truncated: the header declares {needed} bytes, the file has {present}"
                )
            content += block
        surplus = 0
        while block := stream.read(_CHUNK if not packed else 1 << 16):
            surplus += len(block)
            if surplus > layout.surplus:
                raise ScanError(
                    file, f"the header declares {needed} bytes, the file has more: header damaged?"
                )
    return content


def _values(content: bytearray, layout: Layout, path: Path) -> np.ndarray:
    """Return the scaled image (X, Y, Z) as float32, or raise ScanError if that loses levels."""
    stored = np.frombuffer(content, layout.dtype).reshape(layout.shape, order="F")
    scaled = (layout.slope, layout.intercept) != (1.0, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        if scaled:
            data = np.empty(layout.shape, np.float32, order="F")
            # Plane by plane, because float64 of the whole scan would take twice its memory.
            for k in range(layout.shape[2]):
                data[:, :, k] = stored[:, :, k].astype(np.float64) * layout.slope + layout.intercept
        else:
            data = stored.astype(np.float32, order="F", copy=False)
        finite = np.isfinite(data)
    if not finite.all():
        raise ScanError(
            path,
            f"{int(finite.size - finite.sum())} of {finite.size} voxels are NaN or infinite; where they are "
            "background, set them to 0 (`fslmaths IN -nan OUT`, `numpy.nan_to_num`)",
        )
    if scaled or layout.dtype.itemsize == 8 or layout.dtype.str[1:] in ("i4", "u4"):
        _check_levels(stored.min().item(), stored.max().item(), layout, path)
    return data


def _check_levels(lowest: float, highest: float, layout: Layout, path: Path) -> None:
    """Raise ScanError if float32 rounding merges grey levels between the extremes of a scan."""
    low, high = sorted(end * layout.slope + layout.intercept for end in (lowest, highest))
    largest, stored = max(abs(low), abs(high)), max(abs(lowest), abs(highest))
    if max(largest, stored) <= _FLOAT32_EXACT:
        return
    merged = max(np.spacing(np.float32(largest)), np.spacing(np.float64(stored)) * abs(layout.slope))
    # The difference of integers is exact, even where float64 cannot distinguish them.
    if 0 < (highest - lowest) * abs(layout.slope) < _GREY_LEVELS * float(merged):
        raise ScanError(
            path,
            f"values from {low:.10g} to {high:.10g}: so far from 0 that float32 cannot distinguish them; "
            "subtract the smallest one",
        )
