"""Masks back in the scan's own space, and their measures held against MONAI and closed forms."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance

from braindino.probing.segmentation.evaluation import hausdorff_95, in_scan_space, measure
from braindino.scans.geometry import Geometry
from braindino.scans.preprocessing import Preprocessing
from braindino.scans.reading import Scan

AFFINE = np.array([[0, -1.0, 0, 5], [0.9, 0, 0, 2], [0, 0, 2.5, -7], [0, 0, 0, 1]])
SPACING = (0.9, 1.0, 2.5)


def blobs(seed):
    """Two overlapping boxes with ragged sides, one of which touches the border of the volume."""
    rng = np.random.default_rng(seed)
    one, other = np.zeros((2, 14, 16, 9), dtype=bool)
    one[0:6, 3:11, 2:6] = rng.random((6, 8, 4)) < 0.9
    other[2:9, 4:12, 1:6] = rng.random((7, 8, 5)) < 0.9
    other[12, 14, 8] = seed % 2 == 0  # a false alarm far away
    return one, other


@pytest.mark.parametrize("seed", range(4))
def test_measures_are_those_of_monai(seed):
    one, other = blobs(seed)
    dice, distance, true_ml, predicted_ml = measure(one, other, AFFINE)
    predicted, truth = (torch.from_numpy(mask)[None, None].float() for mask in (one, other))
    assert dice == pytest.approx(float(compute_dice(predicted, truth)), rel=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # MONAI's, of its own call
        expected = compute_hausdorff_distance(
            predicted, truth, include_background=True, percentile=95, spacing=SPACING
        )
    assert distance == pytest.approx(float(expected), rel=1e-5)
    assert true_ml == pytest.approx(other.sum() * 0.9 * 2.5 / 1000)
    assert predicted_ml == pytest.approx(one.sum() * 0.9 * 2.5 / 1000)


def test_distance_of_shifted_boxes_is_the_shift_in_mm():
    one, other = np.zeros((2, 20, 20, 20), dtype=bool)
    one[2:8, 2:8, 2:8], other[2:8, 2:8, 5:11] = True, True
    assert hausdorff_95(one, other, np.array([1.0, 1.0, 2.0])) == pytest.approx(6.0)
    assert hausdorff_95(one, one, np.array([1.0, 1.0, 2.0])) == 0


def test_empty_masks_are_decided():
    nothing, something = np.zeros((2, 5, 5, 5), dtype=bool)
    something[1:3, 1:3, 1:3] = True
    assert measure(nothing, nothing, np.eye(4))[0] == 1
    for predicted, truth in ((nothing, something), (something, nothing)):
        dice, distance, true_ml, predicted_ml = measure(predicted, truth, np.eye(4))
        assert dice == 0
        assert np.isnan(distance)
        assert (true_ml, predicted_ml) == (truth.sum() / 1000, predicted.sum() / 1000)


def geometry_of(shape, orientation, depth, size):
    scan = Scan(np.zeros(shape, np.float32), AFFINE, Path("scan.nii"), "")
    return Geometry.of(scan, Preprocessing(orientation=orientation, depth=depth, size=size))


def test_masks_go_back_whole_where_the_grid_is_the_scans_own():
    rng = np.random.default_rng(0)
    scan = rng.random((2, 6, 5, 4)) < 0.4
    scan[1] &= ~scan[0]
    geometry = geometry_of((6, 5, 4), "RAS", None, (6, 5))
    masks = np.stack([np.ascontiguousarray(geometry.to_slices(mask)) for mask in scan])
    assert masks.shape == (2, 4, 6, 5)  # rows and columns are swapped, columns flipped on the way
    for exclusive in (True, False):
        back = in_scan_space(masks, geometry, exclusive)
        assert back.dtype == bool
        assert (back == scan).all()


def test_exclusive_regions_stay_apart_on_a_finer_grid():
    geometry = geometry_of((9, 9, 9), "native", 4, (4, 4))
    masks = np.zeros((2, 4, 4, 4), dtype=bool)
    masks[0, 1:3, 1:3, :2], masks[1, 1:3, 1:3, 2:] = True, True
    back = in_scan_space(masks, geometry, exclusive=True)
    assert not (back[0] & back[1]).any()
    assert back[0].sum() > 0
    assert back[1].sum() > 0
