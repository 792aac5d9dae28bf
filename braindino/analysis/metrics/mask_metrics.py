"""Compare two masks: overlap, distance of surfaces, volumes, and lesions one by one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, generate_binary_structure, label

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


def segmentation_row(predicted: Mask, truth: Mask, affine: NDArray[np.floating[Any]]) -> tuple[float, ...]:
    """Return the numbers of a row of predictions.csv, in the order of `MEASURED` and `LESIONS`.

    Args:
        predicted: (X, Y, Z) bool.
        truth: (X, Y, Z) bool, in the same space.
        affine: (4, 4) voxel -> mm.
    """
    lesions = count_lesions(predicted, truth)
    counts = (float(lesions.true), float(lesions.predicted), lesions.f1)
    return (*measure_masks(predicted, truth, affine), *counts)


def hausdorff_95(first: Mask, second: Mask, spacing: NDArray[np.floating[Any]]) -> float:
    """Return the larger 95th percentile of surface distances, in the unit of `spacing`.

    MONAI's compute_hausdorff_distance gives the same in float32, and logs a warning about itself in every
    call.

    Args:
        first: (X, Y, Z) bool, not empty.
        second: (X, Y, Z) bool, not empty.
        spacing: (3,) size of a voxel.
    """
    either = np.argwhere(first | second)
    box = tuple(
        slice(low, high + 1) for low, high in zip(either.min(axis=0), either.max(axis=0), strict=True)
    )
    # Both masks are empty outside of the box. Voxels at its sides are surface, as at the volume's sides.
    surfaces = [mask[box] & ~binary_erosion(mask[box]) for mask in (first, second)]
    directed = []
    for source, target in (surfaces, surfaces[::-1]):
        distance = distance_transform_edt(~target, sampling=spacing)
        directed.append(float(np.percentile(distance[source], PERCENTILE)))
    return max(directed)


@dataclass(frozen=True)
class Lesions:
    """Numbers of connected lesions of a true and a predicted mask.

    Attributes:
        true: lesions of the true mask.
        predicted: lesions of the predicted mask.
        detected: true lesions that overlap the predicted mask.
        correct: predicted lesions that overlap the true mask.
    """

    true: int
    predicted: int
    detected: int
    correct: int

    @property
    def f1(self) -> float:
        """Return 2 TP / (2 TP + FP + FN), TP the detected lesions; NaN without true lesions."""
        if not self.true:
            return float("nan")
        missed, false = self.true - self.detected, self.predicted - self.correct
        return 2 * self.detected / (2 * self.detected + missed + false)


def count_lesions(predicted: Mask, truth: Mask) -> Lesions:
    """Count the lesions of two masks; voxels that touch, also by a corner, are one lesion.

    A lesion is detected if one voxel overlaps (the rule of ATLAS R2.0, as BrainSegFounder evaluates).

    Args:
        predicted: (X, Y, Z) bool.
        truth: (X, Y, Z) bool, in the same space.
    """
    corners = generate_binary_structure(3, 3)
    true_labels, true_count = label(truth, corners)
    predicted_labels, predicted_count = label(predicted, corners)
    return Lesions(
        true=int(true_count),
        predicted=int(predicted_count),
        detected=len(np.unique(true_labels[predicted & truth])),
        correct=len(np.unique(predicted_labels[predicted & truth])),
    )
