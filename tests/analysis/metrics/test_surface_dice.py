"""Test the surface Dice against DeepMind's surface-distance, MONAI and closed forms."""

import warnings

import numpy as np
import pytest
import torch
from monai.metrics import compute_surface_dice

from braindino.analysis.metrics.surface_dice import check_tolerance, surface_dice
from braindino.errors import BraindinoError
from tests.helpers.mask_pairs import mask_pairs

# Name -> tolerance [mm] -> `compute_surface_dice_at_tolerance(compute_surface_distances(truth, predicted,
# spacing), tolerance)` of surface-distance 0.1 with numpy 1.26.4 and scipy 1.11.4, to 12 digits. The package
# is no requirement of the tests: with numpy 2 it fails on an empty mask (np.Inf), and SciPy warns of it.
SURFACE_DISTANCE = {
    "structure": {0.5: 0.631890941663, 1.0: 0.956388272293, 2.0: 0.999378356006, 3.0: 1.0},
    "thick slices": {0.5: 0.783568140983, 1.0: 0.932982770325, 2.0: 0.992556972787, 3.0: 0.992556972787},
    "lesions": {0.5: 0.693092273726, 1.0: 0.869284722199, 2.0: 0.890657030216, 3.0: 0.936034613685},
    "at the border": {0.5: 0.977702910095, 1.0: 0.998606401471, 2.0: 1.0, 3.0: 1.0},
    "one slice": {0.5: 0.670844745824, 1.0: 0.935679389416, 2.0: 1.0, 3.0: 1.0},
    "equal": {0.5: 1.0, 1.0: 1.0, 2.0: 1.0, 3.0: 1.0},
    "empty prediction": {0.5: 0.0, 1.0: 0.0, 2.0: 0.0, 3.0: 0.0},
}


@pytest.mark.parametrize("name", SURFACE_DISTANCE)
def test_surface_dice_equals_surface_distance(name):
    predicted, truth, spacing = mask_pairs()[name]
    for tolerance, expected in SURFACE_DISTANCE[name].items():
        measured = surface_dice(predicted, truth, np.array(spacing), tolerance)
        assert measured == pytest.approx(expected, abs=1e-11), tolerance
        assert surface_dice(truth, predicted, np.array(spacing), tolerance) == pytest.approx(measured)
        assert measured <= 1


@pytest.mark.parametrize("seed", range(3))
def test_surface_dice_agrees_with_monai(seed):
    rng = np.random.default_rng(seed)
    truth = rng.random((9, 11, 7)) < 0.3
    predicted = truth ^ (rng.random(truth.shape) < 0.05)
    spacing = tuple(rng.uniform(0.5, 3, size=3))
    masks = (torch.from_numpy(mask)[None, None] for mask in (predicted, truth))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of MONAI itself
        expected = compute_surface_dice(
            *masks, class_thresholds=[1.3], include_background=True, spacing=spacing, use_subvoxels=True
        )
    assert surface_dice(predicted, truth, np.array(spacing), 1.3) == pytest.approx(float(expected), abs=1e-5)


def test_surface_dice_of_a_shifted_box_jumps_at_the_shift():
    first, second = np.zeros((2, 20, 20, 20), dtype=bool)
    first[2:8, 2:8, 2:8], second[2:8, 2:8, 4:10] = True, True
    exact, rounded = np.array([0.7, 0.7, 1.0]), np.array([0.7, 0.7, 1.0 + 1e-7])
    for spacing in (exact, rounded):  # float32 headers do not change whether 2 voxels are within 2 mm
        assert surface_dice(first, second, spacing, 1.99) < 1
        assert surface_dice(first, second, spacing, 2.0) == 1


def test_surface_dice_of_empty_masks():
    nothing, something = np.zeros((2, 5, 5, 5), dtype=bool)
    something[1:3, 1:3, 1:3] = True
    assert np.isnan(surface_dice(nothing, nothing, np.ones(3), 2.0))
    assert surface_dice(nothing, something, np.ones(3), 2.0) == 0
    assert surface_dice(something, nothing, np.ones(3), 2.0) == 0


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_check_tolerance_rejects_what_is_no_distance(tolerance):
    with pytest.raises(BraindinoError, match=r"nsd_tolerance .*expected a distance in mm"):
        check_tolerance(tolerance)
