"""Masks on the grid: the same whether made or kept, one slice at a time, never stale, never half."""

import nibabel
import numpy as np

from braindino.datasets.grid_masks import GridMask, grid_masks
from braindino.probing import SegmentationHead
from braindino.probing.cases import ProbeCases


def test_a_mask_is_kept_as_it_is():
    labels = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.uint8)
    labels[2] = 0
    mask = GridMask.of(labels, "x")
    assert len(mask) == 5
    assert all((mask.slice(i) == labels[i]).all() for i in range(5))
    assert mask.holds[2].nonzero()[0].tolist() == [0]
    assert mask.holds[1].nonzero()[0].tolist() == [0, 1, 2, 3]


def test_kept_masks_are_read_again_and_damaged_ones_made_anew(lesions, monkeypatch):
    data = lesions()
    data.prepare_data()
    data.setup()
    first, reasons = grid_masks(data)
    assert (list(first), reasons) == (list(data.cases.index), {})
    for row, mask in list(first.items())[:3]:
        assert (np.stack([mask.slice(i) for i in range(len(mask))]) == data.mask_of(row)).all()
    made = []
    mask_of = type(data).mask_of
    monkeypatch.setattr(type(data), "mask_of", lambda self, row: made.append(row) or mask_of(self, row))
    file = data.store.path / "masks" / first[1].digest[:2] / f"{first[1].digest}.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    again, _ = grid_masks(data)
    assert made == [1]
    assert all((first[row].packed == again[row].packed).all() for row in first)
    assert file.read_bytes() == whole


def test_masks_that_cannot_be_used_say_why(lesions, tmp_path):
    data = lesions()
    data.prepare_data()
    data.setup()
    nibabel.save(nibabel.Nifti1Image(np.zeros((9, 9, 9), np.uint8), np.eye(4)), tmp_path / "small.nii.gz")
    nibabel.save(nibabel.Nifti1Image(np.full((30, 28, 10), 0.5), np.eye(4)), tmp_path / "half.nii.gz")
    for row, path in enumerate(["small.nii.gz", "half.nii.gz", "gone.nii.gz"]):
        data.cases.loc[row, "mask"] = str(tmp_path / path)
    data.cases.loc[3, "mask"] = ""
    masks, reasons = grid_masks(data)
    assert list(reasons) == [3, 0, 1, 2]
    assert reasons[3] == "no mask"
    assert reasons[0] == "mask: mask of shape (9, 9, 9) on a scan of shape (30, 28, 10)"
    assert "no labels" in reasons[1]
    assert "no file" in reasons[2]
    cases = ProbeCases.of(data, SegmentationHead(), "mask", reasons)
    assert len(cases.table) == 16 == len(masks)
    assert cases.left_out["reason"].tolist() == [reasons[row] for row in range(4)]
