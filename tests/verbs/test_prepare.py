from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import braindino
from braindino.datasets.manifest import MASK, ManifestBuilder
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing

CONTRACT = Preprocessing(depth=4, size=(8, 8))


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two scans, an empty file, and a mask of another shape than its scan."""
    rows = ManifestBuilder("made")
    for i, side in enumerate((10, 10, 0, 9)):
        path = tmp_path / f"s{i}.nii"
        if side:
            volume = np.random.default_rng(i).integers(1, 99, (side, side, side)).astype(np.int16)
            nib.save(nib.Nifti1Image(volume, np.eye(4)), path)
        else:
            path.touch()
        rows.keep(path, f"p{i}" if i < 3 else "p0", "T1w" if i < 3 else MASK)
    rows.build().write(tmp_path / "made.csv")
    return tmp_path / "made.csv"


def test_prepare_returns_counts_and_rejects_and_prints_nothing(
    manifest: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    report = braindino.prepare(manifest, tmp_path / "store", contract=CONTRACT, progress=False)
    assert (report.prepared, report.cached, report.rejected) == (2, 0, 1)
    assert (report.masks, report.rejected_masks) == (1, 1)
    reasons = {Path(path).name: reason for path, reason in report.rejects.to_numpy()}
    assert reasons["s2.nii"] == "empty file"
    assert reasons["s3.nii"].startswith("mask of shape")
    assert report.store.contract == CONTRACT
    assert report.store.index()["subject"].tolist() == ["p0", "p1"]
    again = braindino.prepare(str(manifest), str(tmp_path / "store"), progress=False)
    assert (again.prepared, again.cached, again.rejected) == (0, 2, 1)
    assert again.rejects.equals(report.rejects)
    assert capfd.readouterr() == ("", "")


def test_prepare_refuses_a_different_contract(manifest: Path, tmp_path: Path) -> None:
    braindino.prepare(manifest, tmp_path / "store", contract=CONTRACT, progress=False)
    with pytest.raises(BraindinoError, match="different contract"):
        braindino.prepare(manifest, tmp_path / "store", depth=5, progress=False)


def test_prepare_refuses_options_that_exclude_each_other(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="divides the work"):
        braindino.prepare(manifest, tmp_path / "store", submit=2, shard=(0, 2))
    assert not (tmp_path / "store").exists()
