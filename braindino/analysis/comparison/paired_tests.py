"""Paired tests of two models on the same cases: exact McNemar, Wilcoxon, permutation over people, Holm."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from braindino.analysis.metrics.weighting import Floats

PERMUTATIONS = 9999


def mcnemar(first_right: ArrayLike, second_right: ArrayLike) -> tuple[int, int, float]:
    """Exact McNemar test: cases that only the first, and only the second model has right; two-sided p.

    Cases count as independent; where people have several, `permutation` is the test to believe.
    """
    from statsmodels.stats.contingency_tables import mcnemar as of_table

    first, second = np.asarray(first_right, dtype=bool), np.asarray(second_right, dtype=bool)
    counts = [[np.sum(one & other) for other in (second, ~second)] for one in (first, ~first)]
    p = float(of_table(counts, exact=True).pvalue) if counts[0][1] + counts[1][0] else 1.0
    return int(counts[0][1]), int(counts[1][0]), min(1.0, p)


def wilcoxon(difference: ArrayLike, people: ArrayLike) -> tuple[float, float]:
    """Wilcoxon's signed-rank test that differences lie about 0: the smaller rank sum, two-sided p.

    Args:
        difference: (N,) of the cases; their mean of each person is ranked, zeros are left out.
        people: (N,) whose case it is.
    """
    from scipy import stats

    mean = _sums(difference, people)[1]
    if not mean.any():
        return 0.0, 1.0
    result = stats.wilcoxon(mean)
    return float(result.statistic), float(result.pvalue)


def permutation(difference: ArrayLike, people: ArrayLike, seed: int = 0) -> tuple[float, float]:
    """Permutation test: what each person's cases say of the two models is swapped at random.

    Args:
        difference: (N,) of the cases.
        people: (N,) whose case it is; all cases of a person are swapped together.

    Returns:
        The mean difference over cases, and two-sided p: of all swaps where there are no more than
        `PERMUTATIONS`, else of so many drawn ones.
    """
    from scipy import stats

    sums = _sums(difference, people)[0]
    mean = float(sums.sum() / np.size(difference))
    if not sums.any():
        return 0.0, 1.0
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
    """Holm's step-down adjustment (1979) of (N,) p values; those that are NaN stay so and do not count."""
    from statsmodels.stats.multitest import multipletests

    adjusted = np.array(p_values, dtype=np.float64)
    known = np.isfinite(adjusted)
    if known.any():
        adjusted[known] = multipletests(adjusted[known], method="holm")[1]
    return adjusted


def _sums(difference: ArrayLike, people: ArrayLike) -> tuple[Floats, Floats]:
    """Sum and mean of each person's differences."""
    values = np.asarray(difference, dtype=np.float64)
    owners: NDArray[np.generic] = np.asarray(people)
    if values.ndim != 1 or values.shape != owners.shape or not len(values):
        raise ValueError(f"differences are {values.shape}, people {owners.shape}; expected a person per case")
    whose, counts = np.unique(owners, return_inverse=True, return_counts=True)[1:]
    total = np.bincount(whose, weights=values).astype(np.float64)
    return total, total / counts
