"""DeLong's test of two AUROCs on the same cases in O(n log n), for several classes and cases of a person."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

from braindino.analysis.metrics.weighting import Floats


class DeLong(NamedTuple):
    """AUROCs of two models, `first - second`, its standard error, z = difference / error, two-sided p.

    `error`, `z` and `p` are NaN where a class has a single person; `p` is 1 where both models are equal.
    """

    first: float
    second: float
    difference: float
    error: float
    z: float
    p: float


def delong(target: ArrayLike, first: ArrayLike, second: ArrayLike, people: ArrayLike | None = None) -> DeLong:
    """Test whether two models have the same (macro one-vs-rest) AUROC on the same N cases.

    Two classes, a case per person: DeLong, DeLong and Clarke-Pearson 1988, by the mid-ranks of Sun and Xu
    2014. Several cases of a person are not independent: their parts are added up before they are squared, as
    by Obuchowski 1997. Of more than two classes the macro AUROC is a mean of AUROCs of the same cases, and so
    is a case's part in it. Several seeds of a model count by their mean AUROC.

    Args:
        target: (N,) index of the true class.
        first, second: (N, C) scores of the classes, or (S, N, C) of S seeds.
        people: (N,), whose case it is; everybody has one if not given.

    Raises:
        ValueError: shapes differ, or there are fewer than two classes with cases.
    """
    owners = np.arange(len(np.asarray(target))) if people is None else np.asarray(people)
    values, parts = zip(*(auroc_parts(target, scores, owners) for scores in (first, second)), strict=True)
    return delong_from_parts(values[0], values[1], parts[0] - parts[1], owners)


def delong_from_parts(first: float, second: float, parts: Floats, people: NDArray[np.generic]) -> DeLong:
    """The test, of what each case (N,) adds to the error of the difference."""
    whose = np.unique(people, return_inverse=True)[1]
    difference = first - second
    error = float(np.sqrt((np.bincount(whose, weights=parts) ** 2).sum()))
    if np.isnan(error):
        return DeLong(first, second, difference, error, error, error)
    if error < 1e-12:  # rounding is all that is left
        equal = abs(difference) < 1e-12
        return DeLong(first, second, difference, 0.0, 0.0 if equal else np.nan, 1.0 if equal else np.nan)
    z = difference / error
    return DeLong(first, second, difference, error, z, float(2 * norm.sf(abs(z))))


def auroc_parts(target: ArrayLike, scores: ArrayLike, people: NDArray[np.generic]) -> tuple[float, Floats]:
    """The AUROC, and what each case (N,) adds to its error: the variance is their sum of squares by person.

    Classes without a case are left out, as in `classification_metrics`.
    """
    truth, values = np.asarray(target, dtype=np.int64), np.asarray(scores, dtype=np.float64)
    seeds = values if values.ndim == 3 else values[None]
    if seeds.ndim != 3 or seeds.shape[1] != len(truth) or len(people) != len(truth):
        raise ValueError(
            f"scores are {values.shape}, people {people.shape}; expected a row for each of {len(truth)} cases"
        )
    present = [1] if seeds.shape[2] == 2 else [c for c in range(seeds.shape[2]) if (truth == c).any()]
    if len(np.unique(truth)) < 2:
        raise ValueError("an AUROC needs cases of two classes")
    each = [_one_against_rest(truth == c, scores[:, c], people) for scores in seeds for c in present]
    return float(np.mean([value for value, _ in each])), np.mean([parts for _, parts in each], axis=0)


def _one_against_rest(
    positive: NDArray[np.bool_], score: Floats, people: NDArray[np.generic]
) -> tuple[float, Floats]:
    won = placements(positive, score)
    value = float(won[positive].mean())
    parts = np.empty(len(score))
    for side in (positive, ~positive):
        carriers = len(np.unique(people[side]))
        scale = np.sqrt(carriers / (carriers - 1)) if carriers > 1 else np.nan
        parts[side] = (won[side] - value) * scale / side.sum()
    return value, parts


def placements(positive: NDArray[np.bool_], score: Floats) -> Floats:
    """(N,): of a positive the share of negatives below it, of a negative that of positives above; ties half.

    DeLong's structural components V10 and V01 (1988, eq. 4 and 5).
    """
    ranks = rankdata(score)
    own = np.empty(len(score))
    own[positive], own[~positive] = rankdata(score[positive]), rankdata(score[~positive])
    below = (ranks - own) / np.where(positive, (~positive).sum(), positive.sum())
    return np.where(positive, below, 1 - below)
