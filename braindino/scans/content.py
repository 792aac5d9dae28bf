"""Recognise pointers, web pages and other formats by their first bytes."""

from pathlib import Path

SNIFF_BYTES = 1024
_POINTERS = {
    b"version https://git-lfs": "a pointer of git-lfs",
    b"/annex/objects/": "a pointer of git-annex",
}
# First bytes of formats that users mistake for scans.
_KINDS = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"BZh", "compressed by bzip2"),
    (b"\xfd7zXZ", "compressed by xz"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"\x89HDF", "HDF5 (MINC-2?)"),
    (b"CDF\x01", "NetCDF (MINC-1?)"),
    (b"NRRD0", "NRRD"),
    (b"mrtrix image", "an image of MRtrix"),
    (b"ObjectType", "MetaImage"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"%PDF", "a PDF"),
)
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<body")


def describe_content(head: bytes) -> str:
    """Return the kind of a file by its first bytes ("an HTML page", "DICOM"), or "" if unknown."""
    if has_dicom_mark(head):
        return "DICOM"
    for start, kind in _KINDS:
        if head.startswith(start):
            return kind
    text = head[:SNIFF_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(_PAGES) or (text.startswith(b"<?xml") and b"<html" in text):
        return "an HTML page (a download that failed, or that needs a login?)"
    if text.startswith(b"<?xml"):
        return "an XML file"
    for start, kind in _POINTERS.items():
        if start in text:
            return f"{kind}, its content was not fetched"
    return "text" if text and _is_text(head) else ""


def describe_pointer(path: Path) -> str:
    """Return the kind of pointer that a small file is in place of its content, or ""."""
    if path.stat().st_size > SNIFF_BYTES:
        return ""
    content = path.read_bytes()
    if not any(start in content for start in _POINTERS):
        return ""
    # The message names both: a pointer of one may have been added to a repository of the other.
    return "a pointer of git-annex or git-lfs, its content was not fetched"


def has_dicom_mark(head: bytes) -> bool:
    """Return whether the first bytes of a file are DICOM, with or without a preamble.

    Files from the 1990s and from some archives begin directly with the first element: group 8 or 2.
    """
    if head[128:132] == b"DICM":
        return True
    if len(head) < 132 or head[:2] not in (b"\x08\x00", b"\x02\x00") or head[3:4] != b"\x00":
        return False
    named = head[4:6] in (b"UL", b"UI", b"CS", b"SH", b"LO", b"DA", b"TM", b"OB")
    return named or int.from_bytes(head[4:8], "little") <= 64


def _is_text(head: bytes) -> bool:
    """Return whether bytes are UTF-8 without control characters; the last character may be cut."""
    text = head[:SNIFF_BYTES].decode("utf-8", "replace")[:-1].removesuffix("\ufffd")
    return bool(text) and all(character.isprintable() or character.isspace() for character in text)
