"""Restore regions to the native grid of a scan."""

from pathlib import Path

import numpy as np

from braindino.scans.contract import Preprocessing
from braindino.scans.geometry import Geometry, restore_regions
from braindino.scans.reading import Scan

AFFINE = np.array([[0, -1.0, 0, 5], [0.9, 0, 0, 2], [0, 0, 2.5, -7], [0, 0, 0, 1]])


def geometry_of(shape, orientation, depth, size):
    scan = Scan(np.zeros(shape, np.float32), AFFINE, Path("scan.nii"), "")
    return Geometry.of(scan, Preprocessing(orientation=orientation, depth=depth, size=size))


def test_restore_regions_is_exact_on_equal_grids():
    rng = np.random.default_rng(0)
    scan = rng.random((2, 6, 5, 4)) < 0.4
    scan[1] &= ~scan[0]
    geometry = geometry_of((6, 5, 4), "RAS", None, (6, 5))
    masks = np.stack([np.ascontiguousarray(geometry.to_slices(mask)) for mask in scan])
    assert masks.shape == (2, 4, 6, 5)  # rows and columns are swapped, columns flipped on the way
    for exclusive in (True, False):
        back = restore_regions(masks, geometry, exclusive)
        assert back.dtype == bool
        assert (back == scan).all()


def test_restore_regions_exclusive_does_not_overlap():
    geometry = geometry_of((9, 9, 9), "native", 4, (4, 4))
    masks = np.zeros((2, 4, 4, 4), dtype=bool)
    masks[0, 1:3, 1:3, :2], masks[1, 1:3, 1:3, 2:] = True, True
    back = restore_regions(masks, geometry, exclusive=True)
    assert not (back[0] & back[1]).any()
    assert back[0].sum() > 0
    assert back[1].sum() > 0
