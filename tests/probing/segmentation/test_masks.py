"""Masks on the grid: the same whether made or kept, one slice at a time, never stale, never half."""

import numpy as np
import pytest

from braindino.errors import BraindinoError
from braindino.probing.segmentation.masks import GridMask, grid_masks


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
    rows = list(data.cases.index[:3])
    first = grid_masks(data, rows)
    for row, mask in zip(rows, first, strict=True):
        assert (np.stack([mask.slice(i) for i in range(len(mask))]) == data.mask_of(row)).all()
    made = []
    mask_of = type(data).mask_of
    monkeypatch.setattr(type(data), "mask_of", lambda self, row: made.append(row) or mask_of(self, row))
    file = data.store.path / "masks" / first[1].digest[:2] / f"{first[1].digest}.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    again = grid_masks(data, rows)
    assert made == [rows[1]]
    assert [(a.packed == b.packed).all() for a, b in zip(first, again, strict=True)] == [True] * 3
    assert file.read_bytes() == whole


def test_a_mask_of_another_scan_is_refused(lesions):
    data = lesions()
    data.prepare_data()
    data.setup()
    one, other = data.cases.index[:2]
    data.store.geometry = lambda key: type(geometry)(**{**geometry.__dict__, "shape": (9, 9, 9)})
    geometry = type(data.store).geometry(data.store, data.cases.loc[other, "key_FLAIR"])
    data.cases.loc[one, "mask"] = data.cases.loc[other, "mask"]  # its digest is not kept yet
    with pytest.raises(BraindinoError, match=r"mask of shape \(30, 28, 10\) on a scan of shape \(9, 9, 9\)"):
        grid_masks(data, [one])
