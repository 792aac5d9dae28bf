"""Resample people with replacement, such that every class is present in each resample."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_ROUNDS = 50  # of drawing again; a class that one person of many has is in 63 % of the resamples


class Resamples(NamedTuple):
    """Resamples of people.

    Attributes:
        weights: (R, people), how often each person was drawn.
        redrawn: number of draws that lacked a class and were drawn again.
    """

    weights: NDArray[np.uint16]
    redrawn: int


def resample_people(
    people: int, resamples: int, seed: int, carries: NDArray[np.bool_] | None = None
) -> Resamples:
    """Draw people with replacement.

    A draw without one of the classes has no AUROC. It is discarded, drawn again, and counted, so that
    intervals are conditional on every class being present, as it is in the sample itself.

    Args:
        people: number of people, and of draws in each resample.
        resamples: number of resamples.
        seed: seed of the draws.
        carries: (people, classes), whether a person has a case of a class; empty classes are ignored.

    Returns:
        The resamples; fewer than requested only if 50 rounds of drawing did not suffice.
    """
    rng = np.random.default_rng(seed)
    accepted: list[NDArray[np.uint16]] = []
    count = redrawn = 0
    required = None if carries is None else carries[:, carries.any(axis=0)].astype(np.float64)
    for _ in range(MAX_ROUNDS):
        missing = resamples - count
        drawn = rng.multinomial(people, np.full(people, 1 / people), size=missing).astype(np.uint16)
        if required is not None:
            drawn = drawn[((drawn @ required) > 0).all(axis=1)]
        redrawn += missing - len(drawn)
        count += len(drawn)
        accepted.append(drawn)
        if count == resamples:
            break
    return Resamples(np.concatenate(accepted), redrawn)
