"""`braindino maps`: maps in the native space of the scan, and rejected input."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from braindino.cli.main import main
from braindino.datasets.discovery import stem
from braindino.scans.dicom.series import Series


@pytest.fixture(scope="module")
def scan(cohort: Path) -> Path:
    return cohort / pd.read_csv(cohort / "adni.csv")["path"][0]


def maps(scan: Path, encoder: Path, out: Path, *more: str) -> int:
    return main(["maps", str(scan), "--encoder", str(encoder), "--out", str(out), "--device", "cpu", *more])


def test_maps_are_in_the_native_space_of_the_scan(scan: Path, encoder: Path, tmp_path: Path) -> None:
    assert maps(scan, encoder, tmp_path, "--slices", "3") == 0
    original, name = nib.load(scan), stem(scan)
    for kind, length in (("pca", 3), ("similarity", 1), ("cls", 1)):
        image = nib.load(tmp_path / f"{name}_{kind}.nii.gz")
        assert image.shape[:3] == original.shape
        assert image.shape[3:] == ((3,) if length == 3 else ())
        np.testing.assert_allclose(image.affine, original.affine, atol=1e-4)
    similarity = np.asarray(nib.load(tmp_path / f"{name}_similarity.nii.gz").dataobj)
    assert 0.7 < similarity.max() <= 1 + 1e-5  # 1 in the middle of the reference, where no voxel need be
    pixels = imread(tmp_path / f"{name}_maps.png")
    assert pixels[..., :3].std() > 0.1


def test_maps_reference_is_the_named_voxel(scan: Path, encoder: Path, tmp_path: Path) -> None:
    original, name = nib.load(scan), stem(scan)
    voxel = tuple(int(n * f) for n, f in zip(original.shape, (0.4, 0.6, 0.5), strict=True))
    assert maps(scan, encoder, tmp_path / "a", "--voxel", *map(str, voxel)) == 0
    mm = original.affine @ [*voxel, 1]
    assert maps(scan, encoder, tmp_path / "b", "--mm", *(f"{x:.3f}" for x in mm[:3])) == 0
    one, other = ((tmp_path / k / f"{name}_similarity.nii.gz").read_bytes() for k in "ab")
    assert one == other
    similarity = np.asarray(nib.load(tmp_path / "a" / f"{name}_similarity.nii.gz").dataobj)
    # A patch is a fourth of the field of view wide: the voxel lies in the best patch, next to its centre.
    best = np.argwhere(similarity > similarity.max() - 1e-4).mean(axis=0)
    away = np.abs(best - voxel) / np.array(original.shape)
    assert (away < 0.2).all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--voxel", "1", "2", "3", "--mm", "1", "2", "3"], "both name the reference"),
        (["--mm", "900", "0", "0"], "outside of the prepared slices"),
        (["--slices", "0"], "expected 1 or more"),
        (["--encoder", "nowhere"], "encoder 'nowhere'"),
    ],
)
def test_maps_explains_wrong_input(
    scan: Path,
    encoder: Path,
    tmp_path: Path,
    more: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert maps(scan, encoder, tmp_path, *more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) <= 3


def test_maps_gives_the_reason_of_a_scan_that_cannot_be_read(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.nii.gz").write_bytes(b"nothing")
    assert maps(tmp_path / "x.nii.gz", encoder, tmp_path / "out") == 2
    assert "neither NIfTI, Analyze nor MGH" in capsys.readouterr().err
    assert maps(tmp_path / "y.nii.gz", encoder, tmp_path / "out") == 2
    assert "no such scan or folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert maps(tmp_path / "empty", encoder, tmp_path / "out") == 2
    assert "no scans in it" in capsys.readouterr().err


def test_maps_of_a_folder_draws_all_but_broken_scans(
    scan: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for visit in "ab":
        (tmp_path / "in" / visit).mkdir(parents=True)
        shutil.copy(scan, tmp_path / "in" / visit / "t1.nii.gz")
    (tmp_path / "in" / "x.nii.gz").write_bytes(b"nothing" * 999)
    assert maps(tmp_path / "in", encoder, tmp_path / "out", "--slices", "2") == 1
    shown = capsys.readouterr().out
    assert "not drawn" in shown
    assert "x.nii.gz: neither NIfTI, Analyze nor MGH" in shown
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"a_t1_maps.png", "b_t1_maps.png"}


def test_maps_converts_dicom_series(
    scan: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in" / "s1"
    folder.mkdir(parents=True)
    (folder / "0001.dcm").write_bytes(bytes(128) + b"DICM")

    def convert(folders: list[Path], root: Path, out: Path) -> list[Series]:
        assert folders == [folder]
        out.mkdir(parents=True)
        shutil.copy(scan, out / "T1_1.nii.gz")
        made = Series(str(folder), "1.2", "1", "T1", "", "T1_1.nii.gz", "", "")
        return [made, Series(str(folder), "1.3", "2", "T2", "", "", "", "slices are missing")]

    monkeypatch.setattr("braindino.datasets.discovery.convert_series", convert)
    assert maps(tmp_path / "in", encoder, tmp_path / "out", "--slices", "2") == 1  # one series is broken
    assert (tmp_path / "out" / "T1_1_pca.nii.gz").is_file()
