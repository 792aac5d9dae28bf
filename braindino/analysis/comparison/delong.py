"""Compute DeLong's test of two AUROCs, for several classes and several cases per person."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata

from braindino.analysis.metrics.weighting import Floats


class DeLong(NamedTuple):
    """The result of a test.

    Attributes:
        first: AUROC of the first model.
        second: AUROC of the second model.
        difference: first minus second.
        error: standard error of the difference; NaN if only one person has a class.
        z: difference by error; NaN as `error` is.
        p: two-sided p value; NaN as `error` is, 1 if both models are equal.
    """

    first: float
    second: float
    difference: float
    error: float
    z: float
    p: float


def delong(target: ArrayLike, first: ArrayLike, second: ArrayLike, people: ArrayLike | None = None) -> DeLong:
    """Test whether two models have the same (macro one-vs-rest) AUROC on the same N cases.

    For two classes and one case per person this is the test of DeLong, DeLong and Clarke-Pearson (1988),
    computed in O(N log N) by the mid-ranks of Sun and Xu (2014). Several cases of a person are not
    independent: their components are summed before they are squared (Obuchowski 1997). The macro AUROC of
    more than two classes is a mean of AUROCs of the same cases, and so are the components of a case. Several
    seeds of a model count by their mean AUROC.

    Args:
        target: (N,) index of the true class.
        first: (N, C) scores of the classes by the first model, or (S, N, C) of S seeds.
        second: the same of the second model.
        people: (N,) the person of each case; by default one person per case.

    Raises:
        ValueError: shapes differ, or fewer than two classes have cases.
    """
    person = np.arange(len(np.asarray(target))) if people is None else np.asarray(people)
    (first_value, first_parts), (second_value, second_parts) = (
        auroc_components(target, scores, person) for scores in (first, second)
    )
    return delong_from_components(first_value, second_value, first_parts - second_parts, person)


def delong_from_components(
    first: float, second: float, components: Floats, people: NDArray[np.generic]
) -> DeLong:
    """Compute the test from the components of the difference's variance.

    Args:
        first: AUROC of the first model.
        second: AUROC of the second model.
        components: (N,) of the cases.
        people: (N,) the person of each case.
    """
    codes = np.unique(people, return_inverse=True)[1]
    difference = first - second
    error = float(np.sqrt((np.bincount(codes, weights=components) ** 2).sum()))
    if np.isnan(error):
        return DeLong(first, second, difference, error, error, error)
    if error < 1e-12:  # zero up to rounding
        equal = abs(difference) < 1e-12
        return DeLong(first, second, difference, 0.0, 0.0 if equal else np.nan, 1.0 if equal else np.nan)
    z = difference / error
    return DeLong(first, second, difference, error, z, float(2 * norm.sf(abs(z))))


def auroc_components(
    target: ArrayLike, scores: ArrayLike, people: NDArray[np.generic]
) -> tuple[float, Floats]:
    """Return the AUROC, and the components (N,) of its variance, which are summed by person.

    Args:
        target: (N,) index of the true class; classes without a case are excluded.
        scores: (N, C) scores of the classes, or (S, N, C) of S seeds.
        people: (N,) the person of each case.

    Raises:
        ValueError: shapes differ, or fewer than two classes have cases.
    """
    truth, values = np.asarray(target, dtype=np.int64), np.asarray(scores, dtype=np.float64)
    seeds = values if values.ndim == 3 else values[None]
    if seeds.ndim != 3 or seeds.shape[1] != len(truth) or len(people) != len(truth):
        raise ValueError(
            f"scores are {values.shape}, people {people.shape}; expected a row for each of {len(truth)} cases"
        )
    if len(np.unique(truth)) < 2:
        raise ValueError("an AUROC needs cases of two classes")
    classes = [1] if seeds.shape[2] == 2 else [c for c in range(seeds.shape[2]) if (truth == c).any()]
    results = [_one_against_rest(truth == c, scores[:, c], people) for scores in seeds for c in classes]
    return float(np.mean([value for value, _ in results])), np.mean([parts for _, parts in results], axis=0)


def _one_against_rest(
    positive: NDArray[np.bool_], score: Floats, people: NDArray[np.generic]
) -> tuple[float, Floats]:
    """Return the AUROC of one class against the rest, and the components of its variance."""
    placed = placements(positive, score)
    value = float(placed[positive].mean())
    components = np.empty(len(score))
    for members in (positive, ~positive):
        count = len(np.unique(people[members]))
        scale = np.sqrt(count / (count - 1)) if count > 1 else np.nan
        components[members] = (placed[members] - value) * scale / members.sum()
    return value, components


def placements(positive: NDArray[np.bool_], score: Floats) -> Floats:
    """Return the placement of each case among the cases of the opposite label; ties count half.

    For a positive it is the share of negatives below it, for a negative that of positives above it:
    DeLong's structural components V10 and V01 (1988, eq. 4 and 5).

    Args:
        positive: (N,) whether a case is of the class.
        score: (N,) its score.
    """
    ranks = rankdata(score)
    within = np.empty(len(score))
    within[positive], within[~positive] = rankdata(score[positive]), rankdata(score[~positive])
    below: Floats = (ranks - within) / np.where(positive, (~positive).sum(), positive.sum())
    return np.where(positive, below, 1 - below)
