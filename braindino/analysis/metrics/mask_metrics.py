"""How two masks compare: overlap, distance of surfaces, volumes, and lesions one by one."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt, generate_binary_structure, label

PERCENTILE = 95


def measure_masks(
    predicted: np.ndarray, truth: np.ndarray, affine: np.ndarray
) -> tuple[float, float, float, float]:
    """Dice, HD95 (mm), true and predicted volume (ml) of two masks (X, Y, Z) bool in one space.

    Where the truth is empty Dice is NaN, where only the prediction is it is 0; HD95 is NaN where either is.

    Args:
        affine: (4, 4) voxel -> mm.
    """
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    millilitre = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    volumes = int(truth.sum()), int(predicted.sum())
    dice = 2 * int((predicted & truth).sum()) / sum(volumes) if volumes[0] else float("nan")
    distance = hausdorff_95(predicted, truth, spacing) if all(volumes) else float("nan")
    return dice, distance, volumes[0] * millilitre, volumes[1] * millilitre


def segmentation_row(predicted: np.ndarray, truth: np.ndarray, affine: np.ndarray) -> tuple[float, ...]:
    """The numbers of one row of predictions.csv, in the order of `segmentation.MEASURED` and `LESIONS`.

    Args:
        predicted, truth: (X, Y, Z) bool in one space.
        affine: (4, 4) voxel -> mm.
    """
    counted = count_lesions(predicted, truth)
    return (
        *measure_masks(predicted, truth, affine),
        float(counted.true),
        float(counted.predicted),
        counted.f1,
    )


def hausdorff_95(one: np.ndarray, other: np.ndarray, spacing: np.ndarray) -> float:
    """The larger of both directions' 95th percentile of distances between surfaces, in the unit of `spacing`.

    As MONAI's compute_hausdorff_distance, which works in float32 and warns of itself in every call; neither
    mask may be empty.
    """
    either = np.argwhere(one | other)
    box = tuple(
        slice(low, high + 1) for low, high in zip(either.min(axis=0), either.max(axis=0), strict=True)
    )
    # Outside of the box both are empty; what touches its side is surface, as at the side of the volume.
    surfaces = [mask[box] & ~binary_erosion(mask[box]) for mask in (one, other)]
    directed = []
    for here, there in (surfaces, surfaces[::-1]):
        away = distance_transform_edt(~there, sampling=spacing)
        directed.append(float(np.percentile(away[here], PERCENTILE)))
    return max(directed)


@dataclass(frozen=True)
class Lesions:
    """Connected lesions of a mask and of its prediction, counted.

    true, predicted: how many there are. found: true ones that the prediction touches. right: predicted ones
    that touch a true one.
    """

    true: int
    predicted: int
    found: int
    right: int

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN), TP the true lesions that are found; NaN where there is no true lesion."""
        if not self.true:
            return float("nan")
        missed, invented = self.true - self.found, self.predicted - self.right
        return 2 * self.found / (2 * self.found + missed + invented)

    @property
    def count_error(self) -> int:
        """The absolute difference of the numbers of lesions."""
        return abs(self.predicted - self.true)


def count_lesions(predicted: np.ndarray, truth: np.ndarray) -> Lesions:
    """Count the lesions of two masks (X, Y, Z) bool: voxels that touch, by a corner too, are one lesion.

    A lesion is found when one voxel overlaps (ATLAS R2.0's rule, as BrainSegFounder evaluates).
    """
    corners = generate_binary_structure(3, 3)
    true_labels, true_count = label(truth, corners)
    predicted_labels, predicted_count = label(predicted, corners)
    return Lesions(
        true=int(true_count),
        predicted=int(predicted_count),
        found=len(np.unique(true_labels[predicted & truth])),
        right=len(np.unique(predicted_labels[predicted & truth])),
    )
