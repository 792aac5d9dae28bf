"""`braindino index` on DICOM series by dcm2niix; skipped where that is not installed."""

import csv
import hashlib
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindino.cli.index import index
from braindino.cli.main import main
from braindino.datasets.manifest import Manifest
from braindino.errors import BraindinoError
from braindino.scans.dicom.series import find_converter
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


@dataclass(frozen=True)
class Header:
    """Fields of a series' headers, without its geometry."""

    uid: str
    description: str = "T1 MPRAGE"
    patient: str = "Doe"
    issuer: str = ""
    sex: str = ""
    birth: str = ""
    kind: str = "M"
    modality: str = "MR"
    study: str = "1.2.9"
    instance: str = ""  # SOPInstanceUID less the slice's number; by default the series'
    first: int = 1  # InstanceNumber of the first slice
    model: str = "Skyra"


def _slice(pixels: np.ndarray, affine: np.ndarray, k: int, header: Header) -> bytes:
    """A DICOM file of one slice, pixels (columns, rows), of a volume with an affine (RAS, mm)."""
    uid, instance = header.uid, f"{header.instance or header.uid}.{k}"
    to_lps = np.diag([-1.0, -1, 1, 1]) @ affine
    size = np.linalg.norm(to_lps[:3, :3], axis=0)
    along = "\\".join(f"{x:.9f}" for x in (*(to_lps[:3, 0] / size[0]), *(to_lps[:3, 1] / size[1])))
    corner = "\\".join(f"{x:.6f}" for x in (to_lps @ [0, 0, k, 1])[:3])
    meta = _element(2, 0x02, "UI", MR_IMAGE) + _element(2, 0x03, "UI", instance)
    meta += _element(2, 0x10, "UI", EXPLICIT)
    meta = _element(2, 0, "UL", struct.pack("<I", len(meta))) + meta
    body = [
        (0x08, 0x08, "CS", f"ORIGINAL\\PRIMARY\\{header.kind}\\ND"), (0x08, 0x16, "UI", MR_IMAGE),
        (0x08, 0x18, "UI", instance), (0x08, 0x20, "DA", "20200102"), (0x08, 0x31, "TM", "120000.0"),
        (0x08, 0x60, "CS", header.modality),
        (0x08, 0x70, "LO", "SIEMENS"), (0x08, 0x103E, "LO", header.description),
        (0x08, 0x1090, "LO", header.model), (0x10, 0x20, "LO", header.patient),
        (0x10, 0x21, "LO", header.issuer), (0x10, 0x30, "DA", header.birth), (0x10, 0x40, "CS", header.sex),
        (0x18, 0x23, "CS", "3D"), (0x18, 0x50, "DS", f"{size[2]:.6f}"), (0x18, 0x5100, "CS", "HFS"),
        (0x20, 0x0D, "UI", header.study), (0x20, 0x0E, "UI", uid),
        (0x20, 0x11, "IS", 2), (0x20, 0x13, "IS", k + header.first),
        (0x20, 0x32, "DS", corner), (0x20, 0x37, "DS", along), (0x20, 0x52, "UI", "1.2.8"),
        (0x28, 0x02, "US", 1), (0x28, 0x04, "CS", "MONOCHROME2"), (0x28, 0x10, "US", pixels.shape[1]),
        (0x28, 0x11, "US", pixels.shape[0]), (0x28, 0x30, "DS", f"{size[1]:.6f}\\{size[0]:.6f}"),
        (0x28, 0x100, "US", 16), (0x28, 0x101, "US", 16), (0x28, 0x102, "US", 15), (0x28, 0x103, "US", 1),
        (0x7FE0, 0x10, "OW", pixels.T.astype("<i2").tobytes()),
    ]  # fmt: skip
    return bytes(128) + b"DICM" + meta + b"".join(_element(*part) for part in body)


def _series(
    folder: Path,
    uid: str,
    description: str = "T1 MPRAGE",
    skip: int | None = None,
    suffix: str = ".dcm",
    volume: np.ndarray | None = None,
    name: str = "IM",
    **header: object,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    volume = _volume() if volume is None else volume
    about = Header(uid, description, **header)  # type: ignore[arg-type]
    for k in range(SHAPE[2]):
        if k != skip:
            file = folder / f"{name}{uid.replace('.', '')}{k:03}{suffix}"
            file.write_bytes(_slice(volume[:, :, k], _affine(), k, about))


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


def test_index_writes_one_volume_per_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = tmp_path / "in", tmp_path / "m.csv"
    _series(root / "P 1 é" / "a", "1.2.1", "T1 MPRAGE")
    _series(root / "P 1 é" / "a", "1.2.2", "T2 FLAIR")
    _series(root / "P2" / "b", "1.2.3", "t2_tse", suffix="", patient="Roe")
    _series(root / "P3" / "c", "1.2.4", "T1 slice missing", skip=4, patient="Poe")
    _series(root / "P4" / "cut", "1.2.5", "T1", patient="Coe")
    for file in (root / "P4" / "cut").iterdir():
        file.write_bytes(file.read_bytes()[:700])
    (root / "P5").mkdir()
    (root / "P5" / "x.dcm").write_bytes(b"no image" * 400)
    assert main(["index", str(root), "--out", str(out)]) == 0
    manifest = Manifest.read(out)
    table = manifest.table.set_index(["subject", "modality"])
    assert set(table.index) == {("P 1 é", "T1w"), ("P 1 é", "FLAIR"), ("P2", "T2w"), ("P3", "T1w")}
    expected = _upright(_volume(), _affine())
    for (subject, _), volume in zip(table.index.tolist(), table["path"], strict=True):
        scan = read_scan(volume)
        converted = _upright(scan.data, scan.affine)
        assert converted.affine == pytest.approx(expected.affine, abs=1e-3)
        assert converted.shape == expected.shape
        # dcm2niix interpolates a missing slice, which is exact for these values.
        assert np.abs(converted.get_fdata() - expected.get_fdata()).max() <= (1 if subject == "P3" else 0)
    cut, garbage = manifest.dropped["reason"]
    assert cut.startswith("DICOM: dcm2niix made no volume: ")
    assert garbage == "DICOM: no image that dcm2niix can convert"
    with (tmp_path / "m_nifti" / "series.csv").open(newline="") as listing:
        rows = list(csv.DictReader(listing))
    assert sorted(row["series"] for row in rows) == ["", "1.2.1", "1.2.2", "1.2.3", "1.2.4", "1.2.5"]
    assert {row["output"] for row in rows} - {""} == {
        Path(path).relative_to(tmp_path / "m_nifti").as_posix() for path in table["path"]
    }
    assert {row["patient"] == "" for row in rows if row["output"]} == {False}
    assert not list((tmp_path / "m_nifti").rglob("*.json"))
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "m_nifti").rglob("*.nii.gz")}
    assert main(["index", str(root), "--out", str(out)]) == 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert capsys.readouterr().out.count("4 scans") == 2


def _indexed(tmp_path: Path, *words: str) -> Manifest:
    """The manifest of `in`, made by the command."""
    assert main(["index", str(tmp_path / "in"), "--out", str(tmp_path / "m.csv"), *words]) == 0
    return Manifest.read(tmp_path / "m.csv")


def _rows(tmp_path: Path) -> list[dict[str, str]]:
    with (tmp_path / "m_nifti" / "series.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_index_makes_one_person_of_a_patient_in_two_folders(tmp_path: Path) -> None:
    _series(tmp_path / "in" / "study1", "1.2.1", patient="PAT7", issuer="A")
    _series(tmp_path / "in" / "study2", "1.2.2", patient="PAT7", issuer="A", volume=_volume()[::-1])
    _series(tmp_path / "in" / "study3", "1.2.3", patient="PAT7", issuer="B", volume=_volume()[:, ::-1])
    _series(tmp_path / "in" / "study4", "1.2.4", patient=" PAT8", volume=_volume()[:, :, ::-1])
    table = _indexed(tmp_path).table
    assert len(table) == 4
    assert table["group"].nunique() == 3
    assert set(table["subject"]) >= {"study3", "study4"}
    patient = {row["patient"] for row in _rows(tmp_path) if "study1" in row["source"]}.pop()
    assert table["subject"].tolist().count(f"patient-{patient}") == 2


def test_index_makes_two_people_of_two_patients_in_a_folder_with_one_series_uid(tmp_path: Path) -> None:
    for k, patient in enumerate(("E1", "E2")):
        _series(
            tmp_path / "in" / "site" / "p",
            "1.2.1",
            patient=patient,
            volume=_volume()[:: 1 - 2 * k],
            name=patient,
        )
    manifest = _indexed(tmp_path)
    assert manifest.table["group"].nunique() == 2
    assert manifest.table["subject"].str.startswith("p_").all() or manifest.table["subject"].nunique() == 2
    volumes = [read_scan(path).data for path in manifest.table["path"]]
    assert sorted(float(volume[0, 0, 0]) for volume in volumes) != [0, 0]
    assert manifest.dropped.empty


def test_index_keeps_patients_whose_series_have_one_time_or_uid(tmp_path: Path) -> None:
    """Siemens XA: dcm2niix gives the time of the series for its UID, and that may be removed."""
    for k, uid in enumerate(("1.2.1", "1.2.2", "1.2.2")):
        volume = np.roll(_volume(), k, 0)
        _series(tmp_path / "in" / f"p{k}", uid, patient=f"E{k}", model="MAGNETOM Vida", volume=volume)
    assert _indexed(tmp_path).table["group"].nunique() == 3


@pytest.mark.parametrize("patient", ["", "ANONYMOUS", "0"])
def test_index_identifies_people_by_folder_without_a_patient_id(
    patient: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for k in range(2):
        _series(tmp_path / "in" / f"p{k}", f"1.2.{k}", patient=patient, volume=np.roll(_volume(), k, 0))
    table = _indexed(tmp_path).table
    assert table["subject"].tolist() == ["p0", "p1"]
    assert (table["blank_because"] == "PatientID: no PatientID: the person is the folder's").all()
    assert "no PatientID" in capsys.readouterr().out
    assert {row["patient"] for row in _rows(tmp_path)} == {""}


def test_index_ignores_a_patient_id_of_people_of_two_sexes(tmp_path: Path) -> None:
    for k, (sex, birth) in enumerate([("M", "19500101"), ("F", "19800101"), ("F", "19700101")]):
        _series(
            tmp_path / "in" / f"p{k}",
            f"1.2.{k}",
            patient="STUDY",
            sex=sex,
            birth=birth,
            volume=np.roll(_volume(), k, 0),
        )
    table = _indexed(tmp_path).table
    assert table["subject"].tolist() == ["p0", "p1", "p2"]
    assert table["blank_because"].str.contains("several sexes and dates of birth").all()


def test_index_takes_the_magnitude_whatever_its_size(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 4096, SHAPE).astype(np.int16)
    magnitude = np.minimum(_volume(), 900)
    for order, name in enumerate(("a", "z")):
        folder = tmp_path / "in" / name
        _series(folder, f"1.2.{order}", patient=name, name="a" if order else "z", volume=magnitude)
        _series(
            folder,
            f"1.2.{order}",
            patient=name,
            name="m",
            volume=noise,
            kind="P",
            first=101,
            instance=f"1.3.{order}",
        )
    _series(tmp_path / "in" / "phase", "1.2.7", patient="ph", volume=noise, kind="P")
    manifest = _indexed(tmp_path)
    assert [read_scan(path).data.max() for path in manifest.table["path"]] == [900, 900]
    assert manifest.dropped["reason"].str.contains("phase image, and no magnitude").sum() == 1


def test_index_takes_slices_sent_twice_once(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "p1"
    _series(folder, "1.2.1", patient="A")
    _series(folder, "1.2.1", patient="A", name="again", instance="1.3.1")
    _series(folder, "1.2.1", patient="A", name="later", instance="1.4.1", first=201)
    _series(tmp_path / "in" / "copy of p1", "1.2.1", patient="A")
    manifest = _indexed(tmp_path)
    assert sorted(read_scan(manifest.table["path"][0]).data.shape) == sorted(SHAPE)
    assert len(manifest.table) == 1
    assert manifest.dropped["reason"].str.startswith("DICOM: the same series as in").tolist() == [True]
    messages = " ".join(row["message"] for row in _rows(tmp_path))
    assert f"{2 * SHAPE[2]} slices sent twice (same place, same pixels), each taken once" in messages


def test_index_lists_a_series_over_time_with_its_reason(tmp_path: Path) -> None:
    for k in range(3):
        _series(
            tmp_path / "in" / "p1",
            "1.2.1",
            "bold",
            patient="A",
            name=f"t{k}",
            instance=f"1.3.{k}",
            first=1 + 9 * k,
            volume=_volume() + k,
        )
    _series(tmp_path / "in" / "p2", "1.2.2", patient="B")
    manifest = _indexed(tmp_path)
    assert len(manifest.table) == 1
    assert manifest.dropped["reason"].str.contains(r"4-D image of shape .* 3\)").all()


@pytest.mark.parametrize(
    "name", ["s{k}.dicom", "i{k:06}.MRDC.{k}", "IM{k}", "{k}", "1.2.840.{k}", "z{k}.img"]
)
def test_index_finds_slices_under_any_name_among_other_files(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "DICOM"
    _series(folder, "1.2.1", patient="A")
    for k, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / name.format(k=k))
    names = ("DICOMDIR", "AUTORUN.INF", "VIEWER.EXE", "README.TXT", "A", "index.htm", "help.chm")
    for other in names:
        (folder / other).write_bytes(b"other content " * 20)
    manifest = _indexed(tmp_path)
    assert manifest.table["modality"].tolist() == ["T1w"]
    listed = (tmp_path / "m.dropped.csv").read_text()
    for other in (
        "DICOMDIR",
        "AUTORUN.INF",
        "VIEWER.EXE",
        "README.TXT",
        "in/DICOM/A,",
        "index.htm",
        "help.chm",
    ):
        assert other in listed


def test_patient_digests_need_the_key_and_are_the_same_again(tmp_path: Path) -> None:
    _series(tmp_path / "in" / "p1", "1.2.1", patient="1234567")
    first = _indexed(tmp_path).table
    key = tmp_path / "m_nifti" / "patient.key"
    assert key.stat().st_mode & 0o077 == 0
    (row,) = _rows(tmp_path)
    plain = [getattr(hashlib, kind)(b"1234567").hexdigest() for kind in ("sha256", "md5", "sha1", "blake2b")]
    assert row["patient"]
    assert not any(digest.startswith(row["patient"]) for digest in plain)
    (tmp_path / "in" / "p1" / "more.txt").write_text("the folder has changed: converted again")
    assert _indexed(tmp_path).table["path"].tolist() == first["path"].tolist()
    assert _rows(tmp_path)[0]["patient"] == row["patient"]
    key.unlink()
    _indexed(tmp_path)
    assert _rows(tmp_path)[0]["patient"] != row["patient"]
    key.write_text("damaged")
    with pytest.raises(BraindinoError, match=r"patient\.key: not the key"):
        index(tmp_path / "in", out=tmp_path / "m.csv")


def test_index_converts_series_in_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "in" / os.fsdecode(b"caf\xe9")
    try:
        _series(folder, "1.2.1", patient="A")
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    manifest = _indexed(tmp_path)
    assert manifest.table["subject"].tolist() == ["caf%E9"]
    assert Path(manifest.table["path"][0]).is_file()


@pytest.mark.parametrize(
    ("ids", "births", "people"),
    [
        (("007", "7"), ("19500101", "19500101"), 1),
        (("007", "7"), ("19500101", "19600101"), 2),
        (("007", "7"), ("", ""), 2),
        (("A007", "A7"), ("19500101", "19500101"), 2),
        (("ab1", "AB1"), ("", ""), 1),
    ],
)
def test_index_reads_ids_of_one_patient_in_two_spellings(
    ids: tuple[str, str], births: tuple[str, str], people: int, tmp_path: Path
) -> None:
    for k in range(2):
        _series(tmp_path / "in" / f"s{k}", f"1.2.{k}", patient=ids[k], birth=births[k], volume=_volume() + k)
    assert index(tmp_path / "in", out=tmp_path / "m.csv") == 0
    assert Manifest.read(tmp_path / "m.csv").table["group"].nunique() == people


def test_index_lists_images_that_are_no_scans_of_an_mr_scanner(tmp_path: Path) -> None:
    _series(tmp_path / "in" / "p", "1.2.1")
    _series(tmp_path / "in" / "p", "1.2.2", "head ct", modality="CT")
    _series(tmp_path / "in" / "p", "1.2.3", "MIP cor", kind="MIP")
    _series(tmp_path / "in" / "p", "1.2.4", "t1 difference", kind="SUB")
    assert index(tmp_path / "in", out=tmp_path / "m.csv") == 0
    manifest = Manifest.read(tmp_path / "m.csv")
    assert len(manifest.table) == 1
    assert sorted(manifest.dropped["reason"]) == [
        "DICOM: a difference of scans (subtraction)",
        "DICOM: a projection (MIP), no scan",
        "DICOM: no MR image (its modality is CT)",
    ]
