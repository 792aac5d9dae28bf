import numpy as np
import pytest

from braindino.datasets.masks import above_half, enhancing_four, region_membership, whole_labels
from braindino.errors import BraindinoError


def test_whole_labels_accepts_whole_numbers_only() -> None:
    labels = whole_labels(np.array([0, 1, 2.0001, 255], np.float32))
    assert labels.dtype == np.uint8
    assert labels.tolist() == [0, 1, 2, 255]
    for wrong in ([0.5], [-1], [256]):
        with pytest.raises(ValueError, match="no labels"):
            whole_labels(np.array(wrong, np.float32))


def test_enhancing_four_becomes_three() -> None:
    assert enhancing_four(np.array([0, 1, 2, 3, 4], np.float32)).tolist() == [0, 1, 2, 3, 3]


@pytest.mark.parametrize("one", [1.0, 0.9999999, 0.01, 255.0])
def test_above_half_uses_the_largest_value(one: float) -> None:
    assert above_half(np.array([0, 0.4, 0.6, 1], np.float32) * np.float32(one)).tolist() == [0, 0, 1, 1]
    assert above_half(np.zeros(3, np.float32)).tolist() == [0, 0, 0]


def test_region_membership_lists_the_regions_of_every_label() -> None:
    table = region_membership({"WT": (1, 2, 3), "ET": (3,)})
    assert np.argwhere(table).tolist() == [[1, 0], [2, 0], [3, 0], [3, 1]]


@pytest.mark.parametrize("labels", [(), (0, 1), (300,)])
def test_region_membership_rejects_labels_that_no_mask_can_hold(labels: tuple[int, ...]) -> None:
    with pytest.raises(BraindinoError, match=r"region 'lesion': .* from 1 to 255"):
        region_membership({"lesion": labels})
