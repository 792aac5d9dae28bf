"""Masks that do not fit their scan are rejects of the store, and their cases have no mask."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from braindino.datasets.cases import case_table
from braindino.datasets.checks.masks import check_masks
from braindino.datasets.manifest import MASK, Manifest, ManifestBuilder
from braindino.scans.contract import Preprocessing
from braindino.scans.reading import Scan, read_scan
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store

SHAPE = (10, 12, 8)
AFFINE = np.diag([-1.0, 1, 2, 1])
REASONS = {
    "sound": "",
    "shape": "mask of shape (10, 12, 7) on a scan of shape (10, 12, 8)",
    "affine": "mask with another affine than its scan",
    "torn": "truncated",
    "gone": "there is no file",
}


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(data, affine), path)
    return path


@pytest.fixture
def prepared(tmp_path: Path) -> tuple[Store, Manifest]:
    """A case for each of REASONS, with its scan in a store."""
    rows = ManifestBuilder("made")
    rng = np.random.default_rng(0)
    for name in REASONS:
        scan = save(tmp_path / f"{name}.nii.gz", rng.integers(1, 99, SHAPE).astype(np.int16))
        rows.keep(scan, name, "T1w")
        drawn = np.ones(SHAPE if name != "shape" else (*SHAPE[:2], 7), np.uint8)
        moved = AFFINE + np.diag([0, 0, 1.0], 1) if name == "affine" else AFFINE
        mask = save(tmp_path / f"{name}_mask.nii.gz", drawn, moved)
        rows.keep(mask, name, MASK)
        if name == "torn":
            mask.write_bytes(mask.read_bytes()[:-10])
        if name == "gone":
            mask.unlink()
    manifest = rows.build()
    store = Store.create(tmp_path / "store", Preprocessing(depth=4, size=(8, 8)))
    images = manifest.table[manifest.table["modality"] != MASK]
    assert fill(store, images, progress=False).prepared == len(REASONS)
    return store, manifest


def test_check_masks_rejects_each_with_its_reason(prepared: tuple[Store, Manifest]) -> None:
    store, manifest = prepared
    assert check_masks(store, manifest.table, progress=False) == (5, 4)
    rejects = store.rejects().set_index("subject")
    assert set(rejects.index) == set(REASONS) - {"sound"}
    assert set(rejects["modality"]) == {MASK}
    for name, reason in rejects["reason"].items():
        assert REASONS[str(name)] in reason
    assert len(store.index()) == len(REASONS)
    cases, dropped = case_table(manifest, store, ["T1w"])
    assert cases.set_index("subject")["mask"].map(bool).to_dict() == {n: n == "sound" for n in REASONS}
    assert sorted(dropped["subject"]) == sorted(set(REASONS) - {"sound"})
    cases, dropped = case_table(manifest, store, ["T1w"], needs_mask=True)
    assert cases["subject"].tolist() == ["sound"]
    assert dropped["reason"].value_counts()["its mask is rejected"] == 4
    assert len(dropped) == 8


def test_check_masks_does_not_read_checked_masks_again(
    prepared: tuple[Store, Manifest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    store, manifest = prepared
    check_masks(store, manifest.table, progress=False)
    read = []

    def reading(path: str) -> Scan:
        read.append(Path(path).name)
        return read_scan(path)

    monkeypatch.setattr("braindino.datasets.checks.masks.read_scan", reading)
    store.refresh()
    assert check_masks(store, manifest.table, progress=False) == (5, 4)
    assert read == ["gone_mask.nii.gz"]  # which may exist by now
    save(tmp_path / "shape_mask.nii.gz", np.ones(SHAPE, np.uint8))
    store.refresh()
    assert check_masks(store, manifest.table, progress=False) == (5, 3)
    assert store.rejects()["subject"].tolist() == ["affine", "gone", "torn"]
    assert check_masks(store, manifest.table, progress=False, retry_rejects=True) == (5, 3)


def test_check_masks_without_masks_or_scans(prepared: tuple[Store, Manifest]) -> None:
    store, manifest = prepared
    is_mask = manifest.table["modality"] == MASK
    assert check_masks(store, manifest.table[~is_mask]) == (0, 0)
    assert check_masks(store, manifest.table[is_mask]) == (0, 0)
