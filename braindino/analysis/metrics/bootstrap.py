"""Draw people with replacement, so that every class is present in each draw."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_REDRAWS = 50  # rounds; a class that one person of many carries is in 63 % of the resamples


class Resamples(NamedTuple):
    """`weights`: (R, people) how often each person was drawn; `redrawn`: how many draws lacked a class."""

    weights: NDArray[np.uint16]
    redrawn: int


def resample_people(
    people: int, resamples: int, seed: int, carries: NDArray[np.bool_] | None = None
) -> Resamples:
    """Draw `people` people with replacement, `resamples` times.

    A draw in which nobody carries one of the classes has no AUROC. It is thrown away and drawn again, and
    counted; so the interval is conditional on every class being present, as it is in the sample itself.

    Args:
        carries: (people, classes), who has a case of which class; classes that nobody has are ignored.

    Returns:
        Fewer than `resamples` rows only where 50 rounds of drawing did not suffice.
    """
    rng = np.random.default_rng(seed)
    kept: list[NDArray[np.uint16]] = []
    found = redrawn = 0
    needed = None if carries is None else carries[:, carries.any(axis=0)].astype(np.float64)
    for _ in range(MAX_REDRAWS):
        drawn = rng.multinomial(people, np.full(people, 1 / people), size=resamples - found).astype(np.uint16)
        if needed is not None:
            drawn = drawn[((drawn @ needed) > 0).all(axis=1)]
        redrawn += resamples - found - len(drawn)
        found += len(drawn)
        kept.append(drawn)
        if found == resamples:
            break
    return Resamples(np.concatenate(kept), redrawn)
