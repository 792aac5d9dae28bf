"""`braindino index` on DICOM by dcm2niix itself, on series made here; skipped where there is none."""

import csv
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindino.cli.main import main
from braindino.datasets.manifest import Manifest
from braindino.errors import BraindinoError
from braindino.scans.dicom import find_converter
from braindino.scans.reading import read_scan

MR_IMAGE, EXPLICIT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.1.2.1"
SHAPE, OBLIQUE = (20, 18, 9), 0.3  # radians about the axis from left to right


def _element(group: int, number: int, kind: str, value: object) -> bytes:
    """One element of explicit little-endian DICOM."""
    if kind == "US":
        content = struct.pack("<H", value)
    elif isinstance(value, bytes):
        content = value
    else:
        content = str(value).encode()
    content += (b"\0" if kind in ("UI", "OB", "OW") else b" ") * (len(content) % 2)
    head = struct.pack("<HH", group, number) + kind.encode()
    if kind in ("OB", "OW"):
        return head + b"\0\0" + struct.pack("<I", len(content)) + content
    return head + struct.pack("<H", len(content)) + content


def _slice(pixels: np.ndarray, affine: np.ndarray, k: int, uid: str, description: str) -> bytes:
    """A DICOM file of one slice, pixels (columns, rows), of a volume with the given affine (RAS, mm)."""
    to_lps = np.diag([-1.0, -1, 1, 1]) @ affine
    size = np.linalg.norm(to_lps[:3, :3], axis=0)
    along = "\\".join(f"{x:.9f}" for x in (*(to_lps[:3, 0] / size[0]), *(to_lps[:3, 1] / size[1])))
    corner = "\\".join(f"{x:.6f}" for x in (to_lps @ [0, 0, k, 1])[:3])
    meta = _element(2, 0x02, "UI", MR_IMAGE) + _element(2, 0x03, "UI", f"{uid}.{k}")
    meta += _element(2, 0x10, "UI", EXPLICIT)
    meta = _element(2, 0, "UL", struct.pack("<I", len(meta))) + meta
    body = [
        (0x08, 0x08, "CS", "ORIGINAL\\PRIMARY\\M"), (0x08, 0x16, "UI", MR_IMAGE),
        (0x08, 0x18, "UI", f"{uid}.{k}"), (0x08, 0x20, "DA", "20200102"), (0x08, 0x60, "CS", "MR"),
        (0x08, 0x70, "LO", "SIEMENS"), (0x08, 0x103E, "LO", description), (0x10, 0x20, "LO", "Doe"),
        (0x18, 0x23, "CS", "3D"), (0x18, 0x50, "DS", f"{size[2]:.6f}"), (0x18, 0x5100, "CS", "HFS"),
        (0x20, 0x0D, "UI", "1.2.9"), (0x20, 0x0E, "UI", uid),
        (0x20, 0x11, "IS", 2), (0x20, 0x13, "IS", k + 1),
        (0x20, 0x32, "DS", corner), (0x20, 0x37, "DS", along), (0x20, 0x52, "UI", "1.2.8"),
        (0x28, 0x02, "US", 1), (0x28, 0x04, "CS", "MONOCHROME2"), (0x28, 0x10, "US", pixels.shape[1]),
        (0x28, 0x11, "US", pixels.shape[0]), (0x28, 0x30, "DS", f"{size[1]:.6f}\\{size[0]:.6f}"),
        (0x28, 0x100, "US", 16), (0x28, 0x101, "US", 16), (0x28, 0x102, "US", 15), (0x28, 0x103, "US", 1),
        (0x7FE0, 0x10, "OW", pixels.T.astype("<i2").tobytes()),
    ]  # fmt: skip
    return bytes(128) + b"DICM" + meta + b"".join(_element(*part) for part in body)


def _series(folder: Path, uid: str, description: str, skip: int | None = None, suffix: str = ".dcm") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(SHAPE[2]):
        if k != skip:
            file = folder / f"IM{uid.replace('.', '')}{k:03}{suffix}"
            file.write_bytes(_slice(_volume()[:, :, k], _affine(), k, uid, description))


def _volume() -> np.ndarray:
    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)


def _affine() -> np.ndarray:
    """Slices sagittal, thick and tilted."""
    cos, sin = np.cos(OBLIQUE), np.sin(OBLIQUE)
    tilt = np.array([[1, 0, 0, 0], [0, cos, -sin, 0], [0, sin, cos, 0], [0, 0, 0, 1]])
    return tilt @ np.array([[0, 0, 5.0, -20], [-1.5, 0, 0, 14], [0, -2.0, 0, 19], [0, 0, 0, 1]])


def _upright(volume: np.ndarray, affine: np.ndarray) -> nib.Nifti1Image:
    return nib.as_closest_canonical(nib.Nifti1Image(volume, affine))


@pytest.fixture(autouse=True)
def _converter() -> None:
    try:
        find_converter()
    except BraindinoError:
        pytest.skip("no dcm2niix: `pip install 'braindino[dicom]'`")


def test_one_volume_per_series_in_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = tmp_path / "in", tmp_path / "m.csv"
    _series(root / "P 1 é" / "a", "1.2.1", "T1 MPRAGE")
    _series(root / "P 1 é" / "a", "1.2.2", "T2 FLAIR")
    _series(root / "P2" / "b", "1.2.3", "t2_tse", suffix="")
    _series(root / "P3" / "c", "1.2.4", "T1 slice missing", skip=4)
    _series(root / "P4" / "cut", "1.2.5", "T1")
    for file in (root / "P4" / "cut").iterdir():
        file.write_bytes(file.read_bytes()[:700])
    (root / "P5").mkdir()
    (root / "P5" / "x.dcm").write_bytes(b"no image" * 400)
    assert main(["index", str(root), "--out", str(out)]) == 0
    manifest = Manifest.read(out)
    table = manifest.table.set_index(["subject", "modality"])
    assert set(table.index) == {("P 1 é", "T1w"), ("P 1 é", "FLAIR"), ("P2", "T2w"), ("P3", "T1w")}
    expected = _upright(_volume(), _affine())
    for (subject, _), path in table["path"].items():
        scan = read_scan(path)
        found = _upright(scan.data, scan.affine)
        assert found.affine == pytest.approx(expected.affine, abs=1e-3)
        assert found.shape == expected.shape
        # Where a slice is missing, dcm2niix interpolates it, as these values allow exactly.
        assert np.abs(found.get_fdata() - expected.get_fdata()).max() <= (1 if subject == "P3" else 0)
    cut, garbage = manifest.dropped["reason"]
    assert cut.startswith("DICOM: dcm2niix made no volume: ")
    assert garbage == "DICOM: no image that dcm2niix can convert"
    with (tmp_path / "m_nifti" / "series.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["series"] for row in rows) == ["", "", "1.2.1", "1.2.2", "1.2.3", "1.2.4"]
    assert {row["output"] for row in rows} - {""} == {
        Path(path).relative_to(tmp_path / "m_nifti").as_posix() for path in table["path"]
    }
    assert {row["patient"] == "" for row in rows if row["output"]} == {False}
    assert not list((tmp_path / "m_nifti").rglob("*.json"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "m_nifti").rglob("*.nii.gz")}
    assert main(["index", str(root), "--out", str(out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert capsys.readouterr().out.count("4 scans") == 2
