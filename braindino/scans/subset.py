"""Choose a fixed subset of scans, cases or slices."""

import numpy as np


def evenly_spaced(count: int, number: int) -> np.ndarray:
    """Return `number` evenly spaced positions from 0 to `count - 1`, both included.

    Positions repeat where `number` is larger than `count`.

    Args:
        count: items to choose from, at least one.
        number: positions to return.

    Returns:
        (number,) int64.
    """
    return np.linspace(0, count - 1, number).round().astype(np.int64)
