"""Every file of a random tree is yielded or recorded."""

import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from braindino.cli.main import main
from braindino.datasets.discovery import find_scans, unusable
from braindino.datasets.generic.folder import Folder
from braindino.datasets.manifest import Manifest, ManifestBuilder, describe_path
from braindino.errors import BraindinoError

NIFTI = struct.pack("<i", 348) + bytes(2000)
DICOM = bytes(128) + b"DICM" + bytes(400)
WITHOUT_PREAMBLE = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + bytes(400)
CONTENTS = (
    NIFTI, DICOM, WITHOUT_PREAMBLE, b"", b"text\n", b"<html></html>", b"\x1f\x8b" + bytes(90), bytes(999)
)  # fmt: skip
NAMES = (
    "T1w.nii", "t2.nii.gz", "x.mgz", "a.hdr", "a.img", "alone.img", "b.HDR", "I0001", "IM_0001", "1",
    "i01.MRDC.3", "s.dcm", "s.DICOM", "s.ima", "DICOMDIR", "notes.txt", "x.json", "README", "v.nrrd", "v.mha",
    "v.mnc", "v+orig.BRIK", "data.zip", "x.nii.bak", "seg.nii.gz", "Ü ñ.nii", "new\nline.nii", "a,b\".nii",
    "-rf.nii", "1.2.840.5", "x.tar.gz",
)  # fmt: skip
FOLDERS = ("p1", "p 2", "ses-1", "derivatives", "anat", "Ä", "DICOM", "labels", "x.nii", "code")


def make(root: Path, rng: np.random.Generator) -> list[Path]:
    """Create a random tree and return its files that are not hidden."""
    folders = [root]
    for _ in range(int(rng.integers(1, 9))):
        folder = folders[int(rng.integers(len(folders)))] / str(rng.choice(FOLDERS))
        if not folder.exists():
            folder.mkdir()
            folders.append(folder)
    files = []
    for _ in range(int(rng.integers(5, 40))):
        path = folders[int(rng.integers(len(folders)))] / str(rng.choice(NAMES))
        if rng.random() < 0.1:
            path = Path(os.fsdecode(os.fsencode(path.parent) + b"/\xe9" + os.fsencode(path.name)))
        if os.path.lexists(path):
            continue
        special = rng.random()
        if special < 0.06:
            path.symlink_to("nowhere")
        elif special < 0.1:
            path.symlink_to(path.name)  # to itself
        elif special < 0.14:
            os.mkfifo(path)
        elif special < 0.17:
            path.symlink_to("/dev/zero")
        else:
            path.write_bytes(CONTENTS[int(rng.integers(len(CONTENTS)))])
        files.append(path)
    (folders[-1] / "loop").symlink_to(root)
    (folders[-1] / "loop" / ".hidden.nii").write_bytes(NIFTI)
    return files


def is_accounted(path: Path, places: set[str]) -> bool:
    """Return True if a file, its folder (of DICOM) or its header or image is recorded."""
    pair = (
        [path.with_suffix(suffix) for suffix in (".hdr", ".img", ".HDR", ".IMG")] if path.stem == "a" else []
    )
    return any(describe_path(place) in places for place in (path, path.parent, *pair))


@pytest.mark.parametrize("seed", range(40))
def test_find_scans_yields_or_records_every_file(seed: int, tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    try:
        files = make(root, np.random.default_rng(seed))
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    rows = ManifestBuilder("x")
    yielded = {describe_path(path) for path in find_scans(root, rows)}
    listed = rows.build()
    places = yielded | set(listed.dropped["path"]) | set(listed.passed_over)
    assert [path for path in files if not is_accounted(path, places)] == []
    assert not any(".hidden" in place for place in places)
    assert any("loop" in place for place in places)
    # The written manifest lists the same files, in UTF-8.
    try:
        manifest = Folder(root).index(root)
    except BraindinoError:  # no scan at all
        return
    manifest.write(tmp_path / "m.csv")
    written = (tmp_path / "m.csv").read_text("utf-8") + (tmp_path / "m.dropped.csv").read_text("utf-8")
    for path in files:
        inside = describe_path(path.relative_to(root)).replace('"', '""')
        assert inside in written or is_accounted(path, places - {describe_path(path)})


def test_find_scans_records_an_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("open", "locked"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "t1.nii").write_bytes(NIFTI)
    honest = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return honest(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root may read everything
    dropped = Folder(tmp_path).index(tmp_path).dropped
    assert dropped["path"].tolist() == [str(tmp_path / "locked")]
    assert dropped["reason"].tolist() == ["folder cannot be read: Permission denied"]


def test_find_scans_records_a_file_without_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.nii", "b"):
        (tmp_path / name).write_bytes(NIFTI)
    monkeypatch.setattr(os, "access", lambda *_: False)
    rows = ManifestBuilder("x")
    assert list(find_scans(tmp_path, rows)) == []
    assert rows.build().dropped["reason"].tolist() == ["no permission to read it"] * 2


def test_manifest_writes_passed_over_files_and_does_not_read_them(tmp_path: Path) -> None:
    (tmp_path / "d" / "p1").mkdir(parents=True)
    (tmp_path / "d" / "p1" / "t1.nii").write_bytes(NIFTI)
    (tmp_path / "d" / "notes.txt").write_text("x")
    manifest = Folder(tmp_path / "d").manifest
    assert manifest.passed_over == [str(tmp_path / "d" / "notes.txt")]
    manifest.write(tmp_path / "m.csv")
    assert (
        "d/notes.txt,,not a scan, by its name and content".replace(",,not", ',,"not')
        in (tmp_path / "m.dropped.csv").read_text()
    )
    assert Manifest.read(tmp_path / "m.csv").dropped.empty


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer to data that was not fetched"),
        (b"<!DOCTYPE html><html>", "no scan, but an HTML page"),
        (b"denied", "no scan, but text"),
        (b"\x1f\x8b" + bytes(50), ""),
        (bytes(50), ""),
    ],
)
def test_unusable_describes_small_files(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(content)
    assert unusable(tmp_path / "a.nii.gz").startswith(reason)
    assert bool(unusable(tmp_path / "a.nii.gz")) == bool(reason)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(path.parent)  # names of sockets are short
        server.bind(path.name)
        os.chdir(here)


@pytest.mark.parametrize("special", [pipe, endless, listening])
def test_verbs_do_not_block_on_special_files(
    special: Callable[[Path], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in" / "p1").mkdir(parents=True)
    (tmp_path / "in" / "p1" / "t1.nii").write_bytes(NIFTI)
    rows = ManifestBuilder("x")
    rows.keep(tmp_path / "in" / "p1" / "t1.nii", "p1", "T1w")
    for name in ("t2.nii", "t3.nii"):
        special(tmp_path / "in" / "p1" / name)
        rows.keep(tmp_path / "in" / "p1" / name, "p1", name)
    rows.build().write(tmp_path / "m.csv")
    assert main(["check", str(tmp_path / "m.csv")]) == 0
    assert "not a file but" in capsys.readouterr().out
    assert main(["prepare", str(tmp_path / "m.csv"), "--store", str(tmp_path / "st")]) == 1
    special(tmp_path / "s.csv")
    for words in (
        ["check", str(tmp_path / "s.csv")],
        ["check", str(tmp_path / "m.csv"), "--split", str(tmp_path / "s.csv")],
        ["check", str(tmp_path / "m.csv"), "--pretraining", str(tmp_path / "s.csv")],
        ["prepare", str(tmp_path / "s.csv"), "--store", str(tmp_path / "st")],
        ["index", str(tmp_path / "s.csv"), "--dataset", "cohort", "--out", str(tmp_path / "o.csv")],
        ["index", str(tmp_path / "in"), "--out", str(tmp_path / "s.csv")],
    ):
        assert main(words) == 2, words
        assert "Traceback" not in capsys.readouterr().err
