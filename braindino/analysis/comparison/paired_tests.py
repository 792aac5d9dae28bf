"""Test two models on the same cases: McNemar, Wilcoxon, permutation; adjust by Holm."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from braindino.analysis.metrics.weighting import Floats

PERMUTATIONS = 9999


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> tuple[int, int, float]:
    """Compute the exact McNemar test.

    It treats cases as independent; `permutation` is valid if people have several.

    Args:
        first_right: (N,) bool, whether the first model classifies each case correctly.
        second_right: (N,) bool, the same of the second model.

    Returns:
        The numbers of cases that only the first, and only the second model classifies correctly, and the
        two-sided p value.
    """
    from statsmodels.stats.contingency_tables import mcnemar as mcnemar_of_table

    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    counts = [[np.sum(row & column) for column in (second, ~second)] for row in (first, ~first)]
    p = float(mcnemar_of_table(counts, exact=True).pvalue) if counts[0][1] + counts[1][0] else 1.0
    return int(counts[0][1]), int(counts[1][0]), min(1.0, p)


def wilcoxon(difference: ArrayLike, people: ArrayLike) -> tuple[float, float]:
    """Compute Wilcoxon's signed-rank test that differences are symmetric about 0.

    Args:
        difference: (N,) of the cases; the mean of each person is ranked, and zeros are excluded.
        people: (N,) the person of each case.

    Returns:
        The smaller rank sum, and the two-sided p value.
    """
    from scipy import stats

    mean = _by_person(difference, people)[1]
    if not mean.any():
        return 0.0, 1.0
    result = stats.wilcoxon(mean)
    return float(result.statistic), float(result.pvalue)


def permutation(difference: ArrayLike, people: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """Compute a permutation test that swaps the two models at random for each person.

    Args:
        difference: (N,) of the cases.
        people: (N,) the person of each case; all cases of a person are swapped together.
        seed: seed of the random swaps.

    Returns:
        The mean difference over cases, and the two-sided p value over all swaps, or over `PERMUTATIONS`
        random ones if there are more.
    """
    from scipy import stats

    sums = _by_person(difference, people)[0]
    mean = float(sums.sum() / np.size(difference))
    if not sums.any():
        return 0.0, 1.0
    # Both swaps of a single person are equally far from 0.
    if len(sums) == 1:
        return mean, 1.0
    result = stats.permutation_test(
        (sums,),
        lambda values, axis: values.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=PERMUTATIONS,
        batch=max(1, 2_000_000 // len(sums)),
        random_state=np.random.default_rng(seed),
    )
    return mean, float(result.pvalue)


def holm(p_values: ArrayLike) -> Floats:
    """Return p values adjusted by Holm's step-down method (Holm 1979).

    Args:
        p_values: (N,); NaN stays NaN and does not count.
    """
    from statsmodels.stats.multitest import multipletests

    adjusted = np.array(p_values, dtype=np.float64)
    defined = np.isfinite(adjusted)
    if defined.any():
        adjusted[defined] = multipletests(adjusted[defined], method="holm")[1]
    return adjusted


def _by_person(difference: ArrayLike, people: ArrayLike) -> tuple[Floats, Floats]:
    """Return sum and mean of each person's differences."""
    values = np.asarray(difference, dtype=np.float64)
    person: NDArray[np.generic] = np.asarray(people)
    if values.ndim != 1 or values.shape != person.shape or not len(values):
        raise ValueError(f"differences are {values.shape}, people {person.shape}; expected a person per case")
    codes, counts = np.unique(person, return_inverse=True, return_counts=True)[1:]
    total = np.bincount(codes, weights=values).astype(np.float64)
    return total, total / counts
