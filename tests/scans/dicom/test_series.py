"""DICOM to NIfTI with a stand-in for dcm2niix, which reads what `series` writes and logs its runs."""

import csv
import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from braindino.errors import BraindinoError
from braindino.scans.dicom import series as dicom
from braindino.scans.dicom.headers import PatientDigests
from braindino.scans.dicom.series import convert_series, find_converter, is_dicom
from braindino.scans.reading import read_header

FAKE = """#!{python}
import gzip, json, struct, sys, zlib
from pathlib import Path
def nifti(uid, slices):
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, 4, 4, slices, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, 2, 8)
    struct.pack_into("<9f", head, 76, 1, 1, 1, 1, 1, 1, 1, 1, 352)
    struct.pack_into("<2h", head, 252, 0, 1)
    struct.pack_into("<12f", head, 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    head[344:348] = b"n+1\\0"
    return gzip.compress(bytes(head) + bytes([zlib.crc32(uid.encode()) % 250]) * 16 * slices, mtime=0)
folder, out = Path(sys.argv[-1]), Path(sys.argv[sys.argv.index("-o") + 1])
with open({log!r}, "a") as log:
    log.write(folder.name + "\\n")
series = {{}}
for file in sorted(folder.iterdir()):
    header = file.read_bytes()[132:]
    if header[:1] != b"{{":
        print("Chris Rorden's dcm2niiX\\nError: no valid DICOM in " + folder.name)
        sys.exit(2)
    header = json.loads(header)
    series.setdefault(header["SeriesInstanceUID"] + header.pop("echo", ""), []).append(header)
for name, slices in series.items():
    (out / (name + ".nii.gz")).write_bytes(nifti(name, len(slices)))
    if slices[0].get("uneven"):
        print("Warning: Interslice distance varies in this volume (incompatible with NIfTI format).")
    print("Convert 3 DICOM as " + str(out / name) + " (4x4x3x1)")
    if slices[0].get("uneven") == "mended":
        (out / (name + "_Eq_1.nii.gz")).write_bytes(nifti(name, 1))
    if slices[0].get("uneven") == "died":
        sys.exit(1)
    (out / (name + ".json")).write_text(json.dumps(slices[0]))
print("Warning: made up")
print("Warning: made up")
"""


def series(
    folder: Path, uid: str, description: str, slices: int = 3, suffix: str = ".dcm", **more: object
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    facts = {
        "SeriesInstanceUID": uid,
        "SeriesDescription": description,
        "SeriesNumber": 2,
        "PatientID": "Doe",
    }
    for k in range(slices):
        content = bytes(128) + b"DICM" + json.dumps(facts | more).encode()
        (folder / f"{uid}{more.get('echo', '')}-{k}{suffix}").write_bytes(content)


def depth(path: Path) -> int:
    """Return the number of slices of a volume."""
    return read_header(path).shape[2]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-in first on the PATH and return the log of its runs."""
    program, log = tmp_path / "bin" / "dcm2niix", tmp_path / "log"
    program.parent.mkdir()
    program.write_text(FAKE.format(python=sys.executable, log=str(log)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))
    return log


def test_convert_series_writes_one_volume_per_series_and_a_table(tmp_path: Path, log: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    series(root / "P1" / "a", "1.2", "T1 MPRAGE: sag!")
    series(root / "P1" / "a", "1.3", "t2", 2)
    series(root / "P2" / "b", "1.4", "FLAIR", 1)
    series(root / "P2" / "b", "1.4", "FLAIR", 2, echo="_e2")
    series(root / "P2" / "copy", "1.2", "T1 MPRAGE: sag!")
    (root / "P3").mkdir()
    (root / "P3" / "x.dcm").write_bytes(b"rubbish")
    folders = [root / "P1" / "a", root / "P2" / "b", root / "P2" / "copy", root / "P3"]
    rows = {(Path(row.source).name, row.series): row for row in convert_series(folders, root, out, False)}
    t1 = rows["a", "1.2"]
    assert t1.output.startswith("P1/a/T1-MPRAGE-sag_2_")
    assert depth(out / t1.output) == 3
    assert (t1.number, t1.description, t1.message) == ("2", "T1 MPRAGE: sag!", "Warning: made up")
    assert "Doe" not in t1.patient
    assert rows["a", "1.3"].output.startswith("P1/a/t2_2_")
    assert depth(out / rows["b", "1.4"].output) == 2
    assert rows["b", "1.4"].message.endswith(
        "2 volumes in the series (2 magnitude), the largest magnitude taken"
    )
    assert (rows["copy", "1.2"].output, rows["copy", "1.2"].reason) == (
        "",
        f"the same series as in {root / 'P1' / 'a'}",
    )
    assert rows["P3", ""].reason == "dcm2niix made no volume: Error: no valid DICOM in P3"
    with (out / "series.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["source"] for row in written] == [row.source for row in rows.values()]
    assert not list(out.rglob(".running*"))


def test_convert_series_repeats_only_new_changed_lost_or_failed(tmp_path: Path, log: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    names = ["done", "changed", "lost", "failed"]
    for number, name in enumerate(names[:3]):
        series(root / name, f"1.{number}", "T1")
    (root / "failed").mkdir()
    (root / "failed" / "x.dcm").write_bytes(b"rubbish")
    first = convert_series([root / name for name in names], root, out, False)
    series(root / "changed", "1.1", "T1", 5)
    (out / next(row.output for row in first if row.source.endswith("lost"))).unlink()
    log.unlink()
    for name, age in (("old", 2 * dicom.TIMEOUT_S + 60), ("new", 60)):
        (out / f".running-{name}").mkdir()
        os.utime(out / f".running-{name}", (time.time() - age,) * 2)
    again = convert_series([root / name for name in names], root, out, False)
    assert log.read_text().split() == ["changed", "failed", "lost"]
    assert [row.output for row in again] == [row.output for row in first]
    assert [path.name for path in out.rglob(".running-*")] == [".running-new"]  # another process's


def test_convert_series_interpolates_missing_slices_or_rejects(tmp_path: Path, log: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    for number, fate in enumerate(("", "mended", "left", "died")):
        series(root / "a", f"1.{number}", f"T1 {fate}", uneven=fate)
    rows = {row.series: row for row in convert_series([root / "a"], root, out, False)}
    assert depth(out / rows["1.0"].output) == 3
    assert depth(out / rows["1.1"].output) == 1
    assert rows["1.1"].output.startswith("a/T1-mended_2_")
    assert [rows[uid].output for uid in ("1.2", "1.3")] == ["", ""]
    assert {rows[uid].reason for uid in ("1.2", "1.3")} == {"slices are missing or unevenly spaced"}


def test_convert_series_does_not_repeat_series_that_are_no_scans(tmp_path: Path, log: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out"
    for uid, fate in (("1.0", ""), ("1.1", "left")):
        series(root / "a", uid, "T1", uneven=fate)
    first = convert_series([root / "a"], root, out, False)
    log.unlink()
    assert convert_series([root / "a"], root, out, False) == first
    assert not log.exists()


def test_convert_series_rejects_incomplete_output(tmp_path: Path, log: Path) -> None:
    series(tmp_path / "in", "1.2", "T1")
    program = tmp_path / "bin" / "dcm2niix"
    program.write_text(program.read_text().replace('    (out / (name + ".json"))', "    sys.exit(9)  #"))
    (row,) = convert_series([tmp_path / "in"], tmp_path, tmp_path / "out", False)
    assert (row.output, row.series) == ("", "1.2")
    assert row.reason.startswith("dcm2niix did not finish it: Convert 3 DICOM")


@pytest.mark.parametrize(
    ("printed", "code", "reason"),
    [
        ("Chris Rorden's dcm2niiX version v1.0 Clang (64-bit)", 2, "no image that dcm2niix can convert"),
        ("dcm2niiX version v1.0\nError: bad", 2, "dcm2niix made no volume: Error: bad"),
        ("dcm2niiX version v1.0", -11, "dcm2niix made no volume: exit code -11"),
    ],
)
def test_convert_series_ignores_banner_of_dcm2niix(
    tmp_path: Path, log: Path, printed: str, code: int, reason: str
) -> None:
    series(tmp_path / "in", "1.2", "T1")
    end = f"os.kill(os.getpid(), {-code})" if code < 0 else f"sys.exit({code})"
    script = f"#!{sys.executable}\nimport os, sys\nprint({printed!r}, flush=True)\n{end}\n"
    (tmp_path / "bin" / "dcm2niix").write_text(script)
    (row,) = convert_series([tmp_path / "in"], tmp_path, tmp_path / "out", False)
    assert row.reason == reason


def test_find_converter_raises_without_dcm2niix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(dicom, "find_spec", lambda name: None)
    with pytest.raises(BraindinoError, match=r"braindino\[dicom\].*--options.dicom null"):
        find_converter()


def test_convert_series_rejects_on_timeout(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicom, "TIMEOUT_S", 0.001)
    series(tmp_path / "in", "1.1", "T1")
    (row,) = convert_series([tmp_path / "in"], tmp_path, tmp_path / "out", False)
    assert row.reason.startswith("dcm2niix took more than")


def test_is_dicom_by_suffix_and_mark(tmp_path: Path) -> None:
    series(tmp_path, "1.2", "T1", 1, "")
    (tmp_path / "README").write_text("no")
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    names = {path.name: is_dicom(path) for path in tmp_path.iterdir()}
    assert names == {"1.2-0": True, "README": False, "DICOMDIR": False}
    assert is_dicom(tmp_path / "old.IMA")
    assert not is_dicom(tmp_path / "gone")


def test_patient_digests_write_key_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def second(source: Path, target: Path) -> None:
        link(source, target)  # by a process that was faster
        raise FileExistsError

    monkeypatch.setattr(os, "link", second)
    assert PatientDigests(tmp_path).name == PatientDigests(tmp_path).name
    assert [path.name for path in tmp_path.iterdir()] == ["patient.key"]
    assert (tmp_path / "patient.key").stat().st_mode & 0o777 == 0o600
