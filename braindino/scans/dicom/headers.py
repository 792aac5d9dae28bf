"""Read headers of DICOM slices: patient, position, and slices that were sent twice."""

import hashlib
import os
import re
import secrets
import unicodedata
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braindino.errors import BraindinoError
from braindino.files import describe_special_file, temporary_beside
from braindino.scans.content import SNIFF_BYTES, has_dicom_mark

KEY_FILE = "patient.key"
_KEY_BYTES = 32
_DIGEST_BYTES = 6
_SUFFIX = re.compile(r"\.(dcm|ima|dicom)$", re.IGNORECASE)
# Placeholders that de-identification tools write as PatientID: they are the same for all people.
_NO_ID = re.compile(
    r"[\W_]*|0+|x+|anon|(anonym|pseudonym)(ous|i[sz]ed)?|de[-_ ]?identified|removed|redacted|unknown|none"
    r"|null|n/?a|nan|no[-_ ]?name|((no|test)?[ _^-]*(patient|subject|phantom))?[ _^-]*(id|name)?",
    re.IGNORECASE,
)
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_PROJECTIONS = {"MIP", "MNIP", "MIN IP", "MINIP", "PROJECTION IMAGE", "MIP_SUB"}
_DIFFERENCES = {"SUB", "SUBTRACT", "SUBTRACTION"}
_TAGS = (
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "PatientID",
    "IssuerOfPatientID",
    "PatientSex",
    "PatientBirthDate",
    "EchoTime",
    "SeriesInstanceUID",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "Rows",
    "Columns",
)


@dataclass(frozen=True)
class Slice:
    """Hold the header of a DICOM file; a file may have many frames.

    Attributes:
        path: path of the file.
        series: SeriesInstanceUID, or "".
        patient: PatientID and its issuer, or () if no id distinguishes people.
        traits: sex and date of birth, each "" if unknown.
        place: fields that are equal for two images of one slice: position, direction, image type, echo, size.
            Empty if the header has no position.
        instance: SOPInstanceUID.
        number: InstanceNumber.
        modality: Modality, such as MR, SR.
        is_image: True if the file has pixels.
        unwanted: why an image is not a scan of an MR scanner, or "".
    """

    path: Path
    series: str
    patient: tuple[str, ...]
    traits: tuple[str, str]
    place: tuple[str, ...]
    instance: str
    number: int
    modality: str
    is_image: bool
    unwanted: str = ""

    @property
    def lookalike(self) -> str:
        """Return number and date of birth, equal for ids that differ in leading zeros, else ""."""
        number = self.patient[0].lstrip("0") if self.patient else ""
        return f"{number}\0{self.patient[1]}\0{self.traits[1]}" if number.isdigit() and self.traits[1] else ""


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, by its suffix or its first bytes. DICOMDIR is no image."""
    if path.name.upper() == "DICOMDIR" or (path.exists() and describe_special_file(path)):
        return False
    if _SUFFIX.search(path.name):
        return True
    try:
        with path.open("rb") as file:
            return has_dicom_mark(file.read(SNIFF_BYTES))
    except OSError:
        return False


def read_slice(path: Path) -> Slice | None:
    """Return the header of a DICOM file, or None where it cannot be read as one.

    Raises:
        BraindinoError: pydicom is not installed.
    """
    header = _read(path, pixels=False)
    if header is None or not (header.get("SeriesInstanceUID") or header.get("SOPInstanceUID")):
        return None
    position, direction = (_text(header, f"Image{name}Patient") for name in ("Position", "Orientation"))
    names = ("ImageType", "EchoTime", "Rows", "Columns")
    place = (position, direction, *(_text(header, name) for name in names)) if position and direction else ()
    number = _text(header, "InstanceNumber")
    return Slice(
        path=path,
        series=_text(header, "SeriesInstanceUID"),
        patient=known_patient(_text(header, "PatientID"), _text(header, "IssuerOfPatientID")),
        traits=(_known_sex(_text(header, "PatientSex")), _text(header, "PatientBirthDate")),
        place=place,
        instance=_text(header, "SOPInstanceUID"),
        number=int(number) if re.fullmatch(r"-?\d{1,9}", number) else 0,
        modality=_text(header, "Modality"),
        is_image="Rows" in header,
        unwanted=_unwanted(header, bool(place)),
    )


def _unwanted(header: Any, has_place: bool) -> str:
    """Return why an image is not an MR scan (other modality, screenshot, projection), or ""."""
    modality = _text(header, "Modality")
    if modality not in ("", "MR", "OT"):
        return f"no MR image (its modality is {modality})"
    is_picture = modality == "OT" or not has_place
    if is_picture and _text(header, "SOPClassUID").startswith(_SECONDARY_CAPTURE):
        return "a picture of a screen (secondary capture), no scan"
    words = {word.strip().upper() for word in _text(header, "ImageType").split("\\")}
    if words & _PROJECTIONS:
        return "a projection (MIP), no scan"
    return "a difference of scans (subtraction)" if words & _DIFFERENCES else ""


def known_patient(identifier: str, issuer: str = "") -> tuple[str, ...]:
    """Return PatientID and issuer, cleaned; () if the id is blank or a placeholder."""
    identifier = unicodedata.normalize("NFC", identifier).strip()
    return () if _NO_ID.fullmatch(identifier) else (identifier, issuer.strip())


def without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], int]:
    """Return the slices of a series without duplicates, and the number of duplicates.

    Duplicates have the same position and the same pixels; their SOPInstanceUID may differ. If two slices of
    one position differ, the series is a time series, and equal slices (of air) are not duplicates; then only
    files of one SOPInstanceUID are.

    Args:
        slices: slices of one series.
    """
    places: dict[tuple[str, ...], list[Slice]] = defaultdict(list)
    for one in sorted(slices, key=lambda each: (each.number, each.path.name)):
        places[one.place or (one.instance or str(one.path),)].append(one)
    pixels = {one.path: _pixel_digest(one.path) for same in places.values() if len(same) > 1 for one in same}
    over_time = any(len({pixels[one.path] for one in same}) > 1 for same in places.values() if len(same) > 1)
    distinct: dict[tuple[str, ...], Slice] = {}
    for place, same in places.items():
        for one in same:
            if over_time and len(same) > 1:
                distinct.setdefault((*place, one.instance or str(one.path), pixels[one.path]), one)
            else:
                distinct.setdefault(place, one)
    return list(distinct.values()), len(slices) - len(distinct)


class PatientDigests:
    """Compute keyed digests of patients, which distinguish them without revealing their ids.

    A PatientID has so few digits that a digest without a key could be inverted by trial; the key is random,
    is stored in `patient.key` of the folder, readable by its owner only, and is reused by the next
    conversion.

    Args:
        folder: folder of the converted volumes.

    Raises:
        BraindinoError: the key file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._key = _key_of(folder / KEY_FILE)

    @property
    def name(self) -> str:
        """Return the name of the key; digests of different keys cannot be compared."""
        return self.of("", "key")

    def of(self, *parts: str) -> str:
        """Return the digest of text parts, 12 hex digits."""
        text = "\0".join(parts).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=self._key, digest_size=_DIGEST_BYTES).hexdigest()

    def of_patient(self, patient: tuple[str, ...]) -> str:
        """Return the digest of PatientID and issuer, ignoring case, or "" without them."""
        return self.of("patient", *(part.casefold() for part in patient)) if patient else ""


def _key_of(file: Path) -> bytes:
    if not file.exists():
        _make_key(file)
    try:
        key = bytes.fromhex(file.read_text(encoding="ascii"))
    except (ValueError, OSError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise BraindinoError(
            f"{file}: not the key of a conversion (64 hex digits).\n"
            "Restore it, or delete the folder: then all series are converted again, with a new key."
        )
    return key


def _make_key(file: Path) -> None:
    """Write a new key atomically, unless another process was first."""
    first = temporary_beside(file)
    try:
        with open(first, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as new:
            new.write(secrets.token_bytes(_KEY_BYTES).hex().encode())
        try:
            os.link(first, file)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            first.replace(file)
    finally:
        first.unlink(missing_ok=True)


def _read(path: Path, pixels: bool) -> Any:
    """Return the header, optionally with pixels, as a dataset of pydicom, or None."""
    try:
        import pydicom
    except ImportError:
        raise BraindinoError(
            "the folder has DICOM series, and pydicom, which reads their patients, is not installed.\n"
            "Install it with `pip install 'braindino[dicom]'`; `braindino index` excludes them with "
            "`--options.dicom null`."
        ) from None
    tags = None if pixels else list(_TAGS)
    with warnings.catch_warnings(), pydicom.config.disable_value_validation():
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=tags, force=True)
        except Exception:  # pydicom raises many kinds of errors on damaged files
            return None


def _pixel_digest(path: Path) -> str:
    """Return the digest of a file's stored pixels, or of the whole file if it has none."""
    header = _read(path, pixels=True)
    content = None if header is None else header.get("PixelData")
    return hashlib.sha256(content if isinstance(content, bytes) else path.read_bytes()).hexdigest()


def _text(header: Any, name: str) -> str:
    """Return an element as text with all its values, or "" if it is absent or cannot be decoded."""
    try:
        value = header.get(name)
    except Exception:  # the value does not fit its type
        return ""
    if value is None:
        return ""
    if not isinstance(value, str) and hasattr(value, "__iter__"):
        return "\\".join(str(part).strip() for part in value)
    return unicodedata.normalize("NFC", str(value)).strip(" \0\t\r\n")


def _known_sex(text: str) -> str:
    return text.upper() if text.upper() in ("M", "F") else ""
