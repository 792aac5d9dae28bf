import numpy as np
import pytest

from braindino.datasets.masks import above_half, enhancing_four, whole_labels


def test_labels_are_whole_numbers() -> None:
    labels = whole_labels(np.float32([0, 1, 2.0001, 255]))
    assert labels.dtype == np.uint8
    assert labels.tolist() == [0, 1, 2, 255]
    for wrong in ([0.5], [-1], [256]):
        with pytest.raises(ValueError, match="no labels"):
            whole_labels(np.float32(wrong))


def test_four_becomes_three() -> None:
    assert enhancing_four(np.float32([0, 1, 2, 3, 4])).tolist() == [0, 1, 2, 3, 3]


@pytest.mark.parametrize("one", [1.0, 0.9999999, 0.01, 255.0])
def test_half_of_the_largest_value_is_the_edge(one: float) -> None:
    assert above_half(np.float32([0, 0.4, 0.6, 1]) * np.float32(one)).tolist() == [0, 0, 1, 1]
    assert above_half(np.zeros(3, np.float32)).tolist() == [0, 0, 0]
