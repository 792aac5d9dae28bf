"""Name files that are not scans."""

import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindino.errors import ScanError
from braindino.scans.content import describe_content, has_dicom_mark
from braindino.scans.reading import content_digest, read_scan


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"<!DOCTYPE html>\n<html>login</html>", "an HTML page"),
        (b"\xef\xbb\xbf <HTML>404", "an HTML page"),
        (b"<?xml version='1.0'?><html xmlns=''>", "an HTML page"),
        (b"<?xml version='1.0'?><error/>", "an XML file"),
        (b"NRRD0004\ntype: short", "NRRD"),
        (b"PK\x03\x04rest", "a ZIP archive"),
        (b"\x89HDF\r\n", "HDF5"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of git-lfs"),
        (b"access denied\n", "text"),
        ("nicht gefunden: Schädel".encode(), "text"),
        (bytes(128) + b"DICM" + bytes(20), "DICOM"),
        (b"\x08\x00\x05\x00CS" + bytes(200), "DICOM"),
        (b"\x08\x00\x00\x00\x04\x00\x00\x00" + bytes(200), "DICOM"),
        (bytes(1024), ""),
        (bytes(range(256)), ""),
        (b"", ""),
    ],
)
def test_describe_content(content: bytes, named: str) -> None:
    assert describe_content(content).startswith(named)
    assert bool(describe_content(content)) == bool(named)
    assert has_dicom_mark(content) == (named == "DICOM")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_read_scan_names_other_formats(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    for content, reason in (
        (b"<html>sign in</html>" * 90, "neither NIfTI, Analyze nor MGH, but an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid\n", "a pointer of git-annex or git-lfs"),
        (b"x" * 2000, "nor MGH, but text"),
        (bytes(128) + b"DICM" + bytes(2000), "nor MGH, but DICOM"),
    ):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(ScanError, match=reason):
            read_scan(path)


def test_read_scan_names_double_compression(tmp_path: Path) -> None:
    content = nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)).to_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(gzip.compress(content)))
    with pytest.raises(ScanError, match="gzip in gzip: compressed twice; unpack it once with gunzip"):
        read_scan(tmp_path / "a.nii.gz")


def test_read_scan_does_not_wait_for_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nii")
    for read in (read_scan, content_digest):
        with pytest.raises(ScanError, match=r"not a file but a pipe \(FIFO\)"):
            read(tmp_path / "a.nii")
        with pytest.raises(ScanError, match="not a file but a device"):
            read(Path("/dev/zero"))
