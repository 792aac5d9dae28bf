"""Rules that turn the values of a mask file into labels, and regions of labels."""

from collections.abc import Mapping

import numpy as np

from braindino.errors import BraindinoError
from braindino.identity import stable_id

LABEL_COUNT = 256  # labels are uint8

# Whole tumour, tumour core, enhancing tumour; labels: 1 necrotic core, 2 oedema, 3 enhancing tumour.
TUMOUR_REGIONS: Mapping[str, tuple[int, ...]] = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}


def whole_labels(values: np.ndarray) -> np.ndarray:
    """Return the values of a mask as uint8 labels.

    Raises:
        ValueError: a value is no whole number from 0 to 255.
    """
    rounded = np.rint(values)
    if values.size and (np.abs(values - rounded).max() > 1e-3 or rounded.min() < 0 or rounded.max() > 255):
        odd = values[(np.abs(values - rounded) > 1e-3) | (rounded < 0) | (rounded > 255)]
        raise ValueError(
            f"contains values that are no labels, such as {odd.ravel()[0]:g} (expected whole numbers from 0 "
            "to 255: threshold a map of probabilities, renumber other labels)"
        )
    labels: np.ndarray = rounded.astype(np.uint8)
    return labels


@stable_id("enhancing_four")
def enhancing_four(values: np.ndarray) -> np.ndarray:
    """Return labels with 4, the enhancing tumour of BraTS up to 2021, changed to 3.

    Not for BraTS 2024 post-treatment glioma, where 4 is the resection cavity.

    Raises:
        ValueError: a value is no whole number from 0 to 255.
    """
    labels = whole_labels(values)
    labels[labels == 4] = 3
    return labels


@stable_id("above_half")
def above_half(values: np.ndarray) -> np.ndarray:
    """Return 1 above half the largest value, else 0; all 0 if that is 0.

    This reads binary masks whose foreground is 1, 0.9999999, 0.01 or 255.
    """
    return (values > 0.5 * max(float(values.max(initial=0.0)), 0.0)).astype(np.uint8)


def region_membership(regions: Mapping[str, tuple[int, ...]]) -> np.ndarray:
    """Return (256, R) bool, True where a label is part of a region.

    Raises:
        BraindinoError: a region has no labels, or a label that is the background or that no mask can hold.
    """
    table = np.zeros((LABEL_COUNT, len(regions)), dtype=bool)
    for column, (name, labels) in enumerate(regions.items()):
        if not labels or min(labels) < 1 or max(labels) >= LABEL_COUNT:
            raise BraindinoError(
                f"region {name!r}: {list(labels)}; expected numbers in a mask, from 1 to {LABEL_COUNT - 1}; "
                "0 is the background."
            )
        table[list(labels), column] = True
    return table
