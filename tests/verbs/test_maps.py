"""`braindino.maps` called from Python."""

from pathlib import Path

import nibabel as nib
import pandas as pd
import pytest

import braindino
from braindino.errors import BraindinoError


def test_maps_returns_files_and_rejected_scans(
    cohort: Path, encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    scan = cohort / pd.read_csv(cohort / "adni.csv")["path"][0]
    (tmp_path / "x.nii.gz").write_bytes(b"nothing")
    result = braindino.maps(
        [scan, tmp_path / "x.nii.gz"], str(encoder), tmp_path / "out", slices=2, device="cpu", progress=False
    )
    assert capfd.readouterr() == ("", "")
    (files,) = result.drawn.values()
    assert files.scan == scan
    assert files.picture.is_file()
    assert {kind: nib.load(path).shape[3:] for kind, path in files.volumes.items()} == {
        "pca": (3,),
        "similarity": (),
        "cls": (),
    }
    (reason,) = result.rejected
    assert "x.nii.gz: neither NIfTI, Analyze nor MGH" in reason


def test_maps_rejects_two_references(tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="both name the reference"):
        braindino.maps(tmp_path / "a.nii", "scratch", tmp_path / "out", voxel=(1, 2, 3), mm=(1.0, 2.0, 3.0))
