"""Test measures of masks against MONAI and closed forms."""

import warnings

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance

from braindino.analysis.metrics.mask_metrics import (
    Lesions,
    count_lesions,
    hausdorff_95,
    measure_masks,
    segmentation_row,
)
from braindino.analysis.metrics.segmentation import ROW
from braindino.analysis.metrics.surface_dice import surface_dice
from tests.helpers.mask_pairs import mask_pairs

AFFINE = np.array([[0, -1.0, 0, 5], [0.9, 0, 0, 2], [0, 0, 2.5, -7], [0, 0, 0, 1]])
SPACING = (0.9, 1.0, 2.5)


def blobs(seed):
    """Two overlapping boxes with ragged sides, first of which touches the border of the volume."""
    rng = np.random.default_rng(seed)
    first, second = np.zeros((2, 14, 16, 9), dtype=bool)
    first[0:6, 3:11, 2:6] = rng.random((6, 8, 4)) < 0.9
    second[2:9, 4:12, 1:6] = rng.random((7, 8, 5)) < 0.9
    second[12, 14, 8] = seed % 2 == 0  # a false alarm far away
    return first, second


@pytest.mark.parametrize("seed", range(4))
def test_measure_masks_agrees_with_monai(seed):
    first, second = blobs(seed)
    dice, distance, true_ml, predicted_ml = measure_masks(first, second, AFFINE)
    predicted, truth = (torch.from_numpy(mask)[None, None].float() for mask in (first, second))
    assert dice == pytest.approx(float(compute_dice(predicted, truth)), rel=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of MONAI itself
        expected = compute_hausdorff_distance(
            predicted, truth, include_background=True, percentile=95, spacing=SPACING
        )
    assert distance == pytest.approx(float(expected), rel=1e-5)
    assert true_ml == pytest.approx(second.sum() * 0.9 * 2.5 / 1000)
    assert predicted_ml == pytest.approx(first.sum() * 0.9 * 2.5 / 1000)


def test_hausdorff_95_of_shifted_boxes_is_the_shift_in_mm():
    first, second = np.zeros((2, 20, 20, 20), dtype=bool)
    first[2:8, 2:8, 2:8], second[2:8, 2:8, 5:11] = True, True
    assert hausdorff_95(first, second, np.array([1.0, 1.0, 2.0])) == pytest.approx(6.0)
    assert hausdorff_95(first, first, np.array([1.0, 1.0, 2.0])) == 0


def test_measure_masks_of_an_empty_truth_is_blank_as_in_monai():
    nothing, something = np.zeros((2, 5, 5, 5), dtype=bool)
    something[1:3, 1:3, 1:3] = True
    for predicted, truth in ((nothing, nothing), (nothing, something), (something, nothing)):
        dice, distance, true_ml, predicted_ml = measure_masks(predicted, truth, np.eye(4))
        tensors = [torch.from_numpy(mask)[None, None].float() for mask in (predicted, truth)]
        assert dice == pytest.approx(float(compute_dice(*tensors)), nan_ok=True)
        assert np.isnan(dice) == (truth is nothing)
        assert np.isnan(distance)
        assert (true_ml, predicted_ml) == (truth.sum() / 1000, predicted.sum() / 1000)


def test_count_lesions_matches_lesions_by_one_voxel():
    truth, predicted = np.zeros((2, 12, 12, 12), dtype=bool)
    truth[1:4, 1:4, 1:4] = True  # detected
    truth[8:10, 8:10, 8:10] = True  # missed
    truth[5, 5, 5] = truth[6, 6, 6] = True  # touch by a corner: first lesion, detected
    predicted[3:6, 3, 3] = True
    predicted[6, 6, 6] = True
    predicted[0, 11, 11] = True  # false
    lesions = count_lesions(predicted, truth)
    assert lesions == Lesions(true=3, predicted=3, detected=2, correct=2)  # no lesion matches by half
    assert lesions.f1 == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))


def test_count_lesions_one_prediction_detects_two_lesions():
    truth, predicted = np.zeros((2, 9, 3, 3), dtype=bool)
    truth[1], truth[5] = True, True
    predicted[1:6] = True
    lesions = count_lesions(predicted, truth)
    assert lesions == Lesions(true=2, predicted=1, detected=2, correct=1)
    assert lesions.f1 == 1


def test_lesions_f1_without_lesions():
    nothing, something = np.zeros((2, 4, 4, 4), dtype=bool)
    something[1, 1, 1] = True
    assert np.isnan(count_lesions(nothing, nothing).f1)
    assert np.isnan(count_lesions(something, nothing).f1)
    assert count_lesions(nothing, something).f1 == 0
    assert np.isnan(count_lesions(something, nothing).panoptic_quality)
    assert np.isnan(count_lesions(something, nothing).recognition_quality)
    missed = count_lesions(nothing, something)
    assert (missed.recognition_quality, missed.panoptic_quality) == (0, 0)
    assert np.isnan(missed.segmentation_quality)


# Name -> rq, sq, pq of panoptica 2.1.7: `Panoptica_Evaluator(expected_input=InputType.SEMANTIC,
# instance_approximator=ConnectedComponentsInstanceApproximator(),
# instance_matcher=NaiveThresholdMatching(strict_threshold=True)).evaluate(predicted, truth)`, to 12 digits.
# The package is no requirement of the tests: it needs numpy below 2.3 and pandas below 3.
PANOPTICA = {
    "structure": (1.0, 0.776809067132, 0.776809067132),
    "thick slices": (1.0, 0.782122905028, 0.782122905028),
    "lesions": (0.333333333333, 0.757549211584, 0.252516403861),
    "at the border": (1.0, 0.93899204244, 0.93899204244),
    "one slice": (0.666666666667, 0.620689655172, 0.413793103448),
    "equal": (1.0, 1.0, 1.0),
}


@pytest.mark.parametrize("name", PANOPTICA)
def test_count_lesions_qualities_equal_panoptica(name):
    predicted, truth, _ = mask_pairs()[name]
    lesions = count_lesions(predicted, truth)
    qualities = (lesions.recognition_quality, lesions.segmentation_quality, lesions.panoptic_quality)
    assert qualities == pytest.approx(PANOPTICA[name], abs=1e-11)


def test_count_lesions_does_not_match_by_exactly_half_of_the_union():
    truth, predicted = np.zeros((2, 8, 8, 8), dtype=bool)
    truth[2:6, 2:6, 2:6], predicted[2:6, 2:6, 2:4] = True, True
    assert count_lesions(predicted, truth).matched == ()
    predicted[2, 2, 4] = True
    assert count_lesions(predicted, truth).matched == pytest.approx((33 / 64,))


@pytest.mark.parametrize("name", mask_pairs())
def test_segmentation_row_measures_the_whole_masks(name):
    predicted, truth, spacing = mask_pairs()[name]
    affine = np.diag([*spacing, 1.0])
    row = dict(zip(ROW, segmentation_row(predicted, truth, affine, 1.5), strict=True))
    measures = measure_masks(predicted, truth, affine)
    assert tuple(row[key] for key in ("dice", "hd95", "true_ml", "predicted_ml")) == pytest.approx(
        measures, nan_ok=True
    )
    lesions = count_lesions(predicted, truth)
    assert (row["true_lesions"], row["predicted_lesions"]) == (lesions.true, lesions.predicted)
    assert row["pq"] == pytest.approx(lesions.panoptic_quality)
    assert row["nsd"] == pytest.approx(surface_dice(predicted, truth, np.array(spacing), 1.5))
    assert row["nsd_tolerance"] == 1.5


def test_segmentation_row_of_empty_masks_is_blank():
    nothing, something = np.zeros((2, 5, 5, 5), dtype=bool)
    something[1:3, 1:3, 1:3] = True
    for predicted, volume in ((nothing, 0.0), (something, 0.008)):
        row = dict(zip(ROW, segmentation_row(predicted, nothing, np.eye(4)), strict=True))
        assert row["predicted_ml"] == pytest.approx(volume)
        assert np.isnan([row[name] for name in ("dice", "hd95", "nsd", "rq", "sq", "pq", "lesion_f1")]).all()
    missed = dict(zip(ROW, segmentation_row(nothing, something, np.eye(4)), strict=True))
    assert missed["dice"] == missed["nsd"] == missed["rq"] == missed["pq"] == 0
