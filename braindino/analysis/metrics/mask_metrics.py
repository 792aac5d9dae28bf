"""Compare two masks: overlap, distance of surfaces, volumes, and lesions one by one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, generate_binary_structure, label

from braindino.analysis.metrics.surface_dice import TOLERANCE, surface_dice

PERCENTILE = 95

Mask = NDArray[np.bool_]


def measure_masks(
    predicted: Mask, truth: Mask, affine: NDArray[np.floating[Any]]
) -> tuple[float, float, float, float]:
    """Return Dice, HD95 [mm], true and predicted volume [ml] of two masks in one space.

    Dice is NaN if the truth is empty and 0 if only the prediction is. HD95 is NaN if either is empty.

    Args:
        predicted: (X, Y, Z) bool.
        truth: (X, Y, Z) bool.
        affine: (4, 4) voxel -> mm.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    millilitre = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    true_size, predicted_size = int(truth.sum()), int(predicted.sum())
    dice = distance = float("nan")
    if true_size:
        dice = 2 * int((predicted & truth).sum()) / (true_size + predicted_size)
    if true_size and predicted_size:
        distance = hausdorff_95(predicted, truth, spacing)
    return dice, distance, true_size * millilitre, predicted_size * millilitre


def segmentation_row(
    predicted: Mask, truth: Mask, affine: NDArray[np.floating[Any]], tolerance: float = TOLERANCE
) -> tuple[float, ...]:
    """Return the numbers of a row of predictions.csv, in the order of `segmentation.ROW`.

    Args:
        predicted: (X, Y, Z) bool.
        truth: (X, Y, Z) bool, in the same space.
        affine: (4, 4) voxel -> mm.
        tolerance: distance up to which surfaces agree, of the surface Dice [mm].
    """
    box = _bounding_box(predicted | truth)
    predicted, truth = predicted[box], truth[box]
    lesions = count_lesions(predicted, truth)
    nsd = float("nan")
    if lesions.true:
        nsd = surface_dice(predicted, truth, np.linalg.norm(affine[:3, :3], axis=0), tolerance)
    return (
        *measure_masks(predicted, truth, affine),
        *(float(lesions.true), float(lesions.predicted), lesions.f1),
        *(lesions.recognition_quality, lesions.segmentation_quality, lesions.panoptic_quality),
        *(nsd, tolerance),
    )


def _bounding_box(mask: Mask) -> tuple[slice, ...]:
    """Return the slices of the smallest box that contains a mask; empty slices if it is empty."""
    box = []
    for axis in range(mask.ndim):
        filled = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if len(filled) else slice(0, 0))
    return tuple(box)


def hausdorff_95(first: Mask, second: Mask, spacing: NDArray[np.floating[Any]]) -> float:
    """Return the larger 95th percentile of surface distances, in the unit of `spacing`.

    MONAI's compute_hausdorff_distance gives the same in float32, and logs a warning about itself in every
    call.

    Args:
        first: (X, Y, Z) bool, not empty.
        second: (X, Y, Z) bool, not empty.
        spacing: (3,) size of a voxel.
    """
    box = _bounding_box(first | second)
    # Both masks are empty outside of the box. Voxels at its sides are surface, as at the volume's sides.
    surfaces = [mask[box] & ~binary_erosion(mask[box]) for mask in (first, second)]
    directed = []
    for source, target in (surfaces, surfaces[::-1]):
        distance = distance_transform_edt(~target, sampling=spacing)
        directed.append(float(np.percentile(distance[source], PERCENTILE)))
    return max(directed)


@dataclass(frozen=True)
class Lesions:
    """Connected lesions of a true and a predicted mask.

    `f1` is by the rule of one voxel; the qualities are those of Kirillov et al. 2019 (arXiv 1801.00868): a
    true and a predicted lesion match if their intersection is more than half of their union.

    Attributes:
        true: lesions of the true mask.
        predicted: lesions of the predicted mask.
        detected: true lesions that overlap the predicted mask.
        correct: predicted lesions that overlap the true mask.
        matched: intersection over union of each pair of lesions that match.
    """

    true: int
    predicted: int
    detected: int
    correct: int
    matched: tuple[float, ...] = ()

    @property
    def f1(self) -> float:
        """Return 2 TP / (2 TP + FP + FN), TP the detected lesions; NaN without true lesions."""
        if not self.true:
            return float("nan")
        missed, false = self.true - self.detected, self.predicted - self.correct
        return 2 * self.detected / (2 * self.detected + missed + false)

    @property
    def recognition_quality(self) -> float:
        """Return 2 TP / (2 TP + FP + FN), TP the matched lesions; NaN without true lesions."""
        return 2 * len(self.matched) / (self.true + self.predicted) if self.true else float("nan")

    @property
    def segmentation_quality(self) -> float:
        """Return the mean intersection over union of the matched lesions; NaN if there are none."""
        return float(np.mean(self.matched)) if self.matched else float("nan")

    @property
    def panoptic_quality(self) -> float:
        """Return the product of both qualities, 0 if no lesion matches; NaN without true lesions."""
        return 2 * sum(self.matched) / (self.true + self.predicted) if self.true else float("nan")


def count_lesions(predicted: Mask, truth: Mask) -> Lesions:
    """Count and match the lesions of two masks; voxels that touch, also by a corner, are one lesion.

    A lesion is detected if one voxel overlaps (the rule of ATLAS R2.0, as BrainSegFounder evaluates).

    Args:
        predicted: (X, Y, Z) bool.
        truth: (X, Y, Z) bool, in the same space.
    """
    corners = generate_binary_structure(3, 3)
    true_labels, true_count = label(truth, corners)
    predicted_labels, predicted_count = label(predicted, corners)
    both = predicted & truth
    pairs, overlap = np.unique(
        np.stack([true_labels[both], predicted_labels[both]]), axis=1, return_counts=True
    )
    sizes = np.bincount(true_labels.ravel())[pairs[0]] + np.bincount(predicted_labels.ravel())[pairs[1]]
    # More than half of the union, by integers. No lesion then has a second match.
    matched = 3 * overlap > sizes
    return Lesions(
        true=int(true_count),
        predicted=int(predicted_count),
        detected=len(np.unique(pairs[0])),
        correct=len(np.unique(pairs[1])),
        matched=tuple((overlap / (sizes - overlap))[matched].tolist()),
    )
