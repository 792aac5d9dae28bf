"""Test masks on the grid: computed or cached they are equal, and damaged or stale ones are replaced."""

import re

import nibabel
import numpy as np
import pytest

from braindino.datasets.grid_masks import GridMask, grid_masks
from braindino.errors import BraindinoError
from braindino.probing import SegmentationHead
from braindino.probing.data.cases import ProbeCases


def test_grid_mask_is_cached_unchanged():
    labels = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.uint8)
    labels[2] = 0
    mask = GridMask.of(labels, "x")
    assert len(mask) == 5
    assert all((mask.slice(i) == labels[i]).all() for i in range(5))
    assert mask.present[2].nonzero()[0].tolist() == [0]
    assert mask.present[1].nonzero()[0].tolist() == [0, 1, 2, 3]


def test_grid_masks_reads_cached_masks_and_replaces_damaged_ones(lesions, monkeypatch):
    data = lesions()
    data.prepare_data()
    data.setup()
    first, reasons = grid_masks(data)
    assert (list(first), reasons) == (list(data.cases.index), {})
    for row, mask in list(first.items())[:3]:
        assert (np.stack([mask.slice(i) for i in range(len(mask))]) == data.mask_of(row)).all()
    made = []
    mask_of = type(data).mask_of
    monkeypatch.setattr(
        type(data), "mask_of", lambda self, row, *drawn: made.append(row) or mask_of(self, row, *drawn)
    )
    file = data.store.path / "masks" / first[1].digest[:2] / f"{first[1].digest}.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    again, _ = grid_masks(data)
    assert made == [1]
    assert all((first[row].packed == again[row].packed).all() for row in first)
    assert file.read_bytes() == whole


def _with_masks(data, folder, change):
    """Prepare `data`, with every mask changed: (row, values as drawn) -> values to be written."""
    data.prepare_data()
    data.setup()
    for row in data.cases.index:
        drawn = data.labels_of(row)
        path = folder / f"changed_{row}.nii.gz"
        nibabel.save(nibabel.Nifti1Image(change(row, drawn.data), drawn.affine), path)
        data.cases.loc[row, "mask"] = str(path)
    return data


def test_check_labels_refuses_255_for_1_and_reads_it_where_named(lesions, tmp_path):
    def change(row, values):
        return np.where(values > 0, 255, 0).astype(np.uint8)

    data = _with_masks(lesions({"lesion": [1]}), tmp_path, change)
    with pytest.raises(BraindinoError, match=r"19 of 20 have labels that no region lists.*\(255\)") as caught:
        grid_masks(data)
    assert "data.regions: {lesion: [255]}" in str(caught.value)
    assert data.cases.loc[0, "case"] in str(caught.value)
    data = _with_masks(lesions({"lesion": [255]}), tmp_path, change)
    masks, reasons = grid_masks(data)
    assert (len(masks), reasons) == (20, {})


@pytest.mark.parametrize("number", [3, 4, 7])
def test_check_labels_lists_one_odd_voxel_with_its_case(lesions, tmp_path, number):
    def change(row, values):
        changed = values.astype(np.uint8)
        if row == 6:
            changed[0, 0, 0] = number  # too small to survive on the grid
        return changed

    data = _with_masks(lesions({"lesion": [1, 2]}), tmp_path, change)
    name = data.cases.loc[6, "case"]
    with pytest.raises(BraindinoError, match=rf"1 of 20 have labels .*: {name} \({number}\)\."):
        grid_masks(data)
    ignoring = _with_masks(lesions({"lesion": [1, 2]}, ignore_labels=[number]), tmp_path, change)
    assert len(grid_masks(ignoring)[0]) == 20


def test_check_labels_refuses_masks_without_any_region(lesions, tmp_path):
    data = _with_masks(
        lesions({"lesion": [1, 2]}), tmp_path, lambda row, values: (values * 0).astype(np.uint8)
    )
    with pytest.raises(BraindinoError, match=r"none of 20 has a label of the regions \(lesion \[1, 2\]\)"):
        grid_masks(data)


def test_grid_masks_reads_labels_written_as_floats(lesions, tmp_path):
    def change(row, values):
        return values.astype(np.float32) * np.float32(0.9999 if row % 2 else 1.0)

    data = _with_masks(lesions({"lesion": [1, 2]}), tmp_path, change)
    whole = lesions({"lesion": [1, 2]})
    whole.prepare_data()
    whole.setup()
    expected, _ = grid_masks(whole)
    masks, reasons = grid_masks(data)
    assert reasons == {}
    assert all((masks[row].present == expected[row].present).all() for row in expected)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda row, values: values / 2 + 0.1, r"values that are no labels, such as 0\.1"),
        (lambda row, values: values - 1, "values that are no labels, such as -1"),
        (lambda row, values: values * 1000, "values that are no labels, such as 1000"),
        (lambda row, values: np.where(values > 0, np.nan, 0), "mask: .*NaN"),
    ],
)
def test_grid_masks_excludes_masks_without_labels(lesions, tmp_path, change, reason):
    data = _with_masks(
        lesions({"lesion": [1, 2]}),
        tmp_path,
        lambda row, values: np.float32(change(row, values)) if row < 2 else values.astype(np.uint8),
    )
    masks, reasons = grid_masks(data)
    assert (len(masks), list(reasons)) == (18, [0, 1])
    assert re.search(reason, reasons[0])


def test_grid_masks_gives_reasons_for_unusable_masks(lesions, tmp_path):
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
    assert cases.excluded["reason"].tolist() == [reasons[row] for row in range(4)]
