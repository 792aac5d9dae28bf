"""Draw scans and slices at random, as pure functions of a seed and a sample's number."""

import numpy as np
from scipy.special import ndtr, ndtri

SIGMA = 1 / 6  # standard deviation of a slice's position, as a fraction of the range with foreground
_UNIT = 2.0**-53


class ScanOrder:
    """Random order of scans, pass after pass.

    A pass has as many samples as there are scans. With equal weights it is a new permutation of the scans per
    pass, so that a batch rarely has two slices of one scan. With other weights scan i is drawn
    n * weight[i] / sum(weight) times in a pass, rounded up or down such that the average is exact (systematic
    sampling), in permuted order.
    """

    def __init__(self, seed: int, weight: np.ndarray) -> None:
        """Store the seed and the cumulated weights.

        Args:
            seed: seed of the draws.
            weight: (n,) positive, one per scan.
        """
        self.seed, self.count = seed, len(weight)
        # Rounded, so that equal weights give each scan exactly once whatever error the sum gathers.
        self._edges = np.round(np.cumsum(weight, dtype=np.float64) * (len(weight) / np.sum(weight)), 9)
        self._passes: dict[int, np.ndarray] = {}

    def draw(self, number: np.ndarray) -> np.ndarray:
        """Return the row numbers (int64) of the scans of samples `number` (int64, from 0)."""
        passes, places = np.divmod(number, self.count)
        result = np.empty(len(number), np.int64)
        needed = {int(k): self._passes.get(int(k)) for k in np.unique(passes)}
        # A batch is in one pass or two; only their orders stay in memory.
        self._passes = {k: self._order(k) if order is None else order for k, order in needed.items()}
        for k, order in self._passes.items():
            chosen = passes == k
            result[chosen] = order[places[chosen]]
        return result

    def _order(self, which: int) -> np.ndarray:
        rng = np.random.Generator(np.random.Philox(key=[self.seed, which]))
        scans = np.searchsorted(self._edges, np.arange(self.count) + rng.uniform(), side="right")
        order: np.ndarray = rng.permutation(np.minimum(scans, self.count - 1))
        return order


def draw_slices(
    seed: int, number: np.ndarray, first: np.ndarray, last: np.ndarray, sigma: float = SIGMA
) -> np.ndarray:
    """Draw slice numbers from a normal distribution truncated to [first, last].

    The centre bias is that of BrainDINO's pretraining (Methods; the paper gives no width).

    Args:
        seed: seed of the draws.
        number: (n,) int64, of the samples.
        first: (n,) int64, first slice with foreground of each sample's scan.
        last: (n,) int64, last slice with foreground, included.
        sigma: standard deviation as a fraction of (last - first + 1).

    Returns:
        (n,) int64.
    """
    # Distance of the ends from the middle, in standard deviations.
    spread = 0.5 / sigma
    uniform = hash_uniform(seed, number)
    low = ndtr(-spread)
    normal = ndtri(low + uniform * (1 - 2 * low))
    place = 0.5 + normal * sigma
    count = last - first + 1
    chosen: np.ndarray = first + np.clip(np.floor(place * count).astype(np.int64), 0, count - 1)
    return chosen


def hash_uniform(seed: int, number: np.ndarray) -> np.ndarray:
    """Return a uniform number in (0, 1) per sample by SplitMix64 over a counter.

    Source: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.

    Args:
        seed: seed of the draws.
        number: (n,) int64, of the samples.

    Returns:
        (n,) float64.
    """
    with np.errstate(over="ignore"):
        z = number.astype(np.uint64) + np.uint64(1)
        z = z * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed) * np.uint64(0xD1B54A32D192ED03)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)).astype(np.float64) + 0.5) * _UNIT
