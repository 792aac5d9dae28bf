"""Measure the coverage of several kinds of 95 % intervals of the same resamples.

    python benchmarks/interval_coverage.py            # about four minutes on one core

People of a known population are drawn many times. For each sample, people are resampled as in
`braindino.analysis.metrics.estimates`, and each kind of interval is checked for covering the population's
value. `percentile`: the 2.5th and 97.5th percentile of the resamples. `expanded`: percentiles
further out, by as much as a t interval is wider than the normal one with the standard deviation of the
sample (Hesterberg 2015, "What teachers should know about the bootstrap", section 4.4.1). `bca`: bias-
corrected and accelerated (Efron 1987), the acceleration from a jackknife over people. `bca+`: BCa at the
expanded levels, as in `braindino.analysis.metrics.intervals`. Prints, per kind, the share of samples whose
interval covers the true value, and its mean width.
"""

import argparse
import zlib
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

from braindino.analysis.metrics.bootstrap import resample_people
from braindino.analysis.metrics.classification import classification_metrics
from braindino.analysis.metrics.regression import regression_metrics
from braindino.analysis.metrics.survival import survival_metrics
from braindino.analysis.metrics.weighting import Floats

Sample = tuple[np.ndarray, ...]
Metric = Callable[[Sample, Floats | None], Floats]
KINDS = ("percentile", "expanded", "bca", "bca+")
LEVEL = 0.95


def classes(rng: np.random.Generator, people: int, effect: float, prevalence: float) -> Sample:
    """Draw two classes whose logits differ by `effect` standard deviations; every class occurs."""
    target = np.r_[0, 0, 1, 1, (rng.random(people - 4) < prevalence)].astype(np.int64)
    score = stats.norm.cdf(rng.normal(size=people) + effect * (target - 0.5))
    return target, np.column_stack([1 - score, score])


def three(rng: np.random.Generator, people: int, effect: float, _: float) -> Sample:
    """Draw three classes of equal size with a raised logit at the true one."""
    target = np.arange(people) % 3
    logits = rng.normal(size=(people, 3)) + effect * np.eye(3)[target]
    odds = np.exp(logits)
    return target, odds / odds.sum(axis=1, keepdims=True)


def numbers(rng: np.random.Generator, people: int, effect: float, _: float) -> Sample:
    """Draw ages and predictions that correlate by `effect`, with errors of heavy tails."""
    age = rng.normal(60, 10, size=people)
    error = rng.standard_t(4, size=people) / np.sqrt(2)
    return age, 60 + effect * (age - 60) + 10 * np.sqrt(1 - effect**2) * error


def survival(rng: np.random.Generator, people: int, effect: float, censored: float) -> Sample:
    """Draw risks that raise the hazard by exp(`effect`) per deviation, with censoring."""
    risk = rng.normal(size=people)
    time = rng.exponential(np.exp(-effect * risk))
    limit = (
        rng.exponential(1 / max(censored, 1e-9) - 1 + 1e-9, size=people) if censored else np.full(people, 9e9)
    )
    return risk, np.minimum(time, limit), (time <= limit).astype(int)


def classification(name: str) -> Metric:
    def metric(sample: Sample, weights: Floats | None) -> Floats:
        target, probability = sample
        names = [str(number) for number in range(probability.shape[1])]
        return classification_metrics(target, probability, names, weights=weights)[name]

    return metric


def regression(name: str) -> Metric:
    return lambda sample, weights: regression_metrics(*sample, weights=weights)[name]


def c_index(sample: Sample, weights: Floats | None) -> Floats:
    table = pd.DataFrame(dict(zip(("risk", "time", "event"), sample, strict=True)))
    return survival_metrics(table, weights=weights)["c_index"]


SCENES: dict[str, tuple[Callable[..., Sample], float, float, Metric]] = {
    "AUROC 0.50": (classes, 0.0, 0.5, classification("auroc")),
    "AUROC 0.76, 30 % positive": (classes, 1.0, 0.3, classification("auroc")),
    "AUROC 0.92": (classes, 2.0, 0.5, classification("auroc")),
    "AUROC of three classes": (three, 1.0, 0.0, classification("auroc")),
    "balanced accuracy": (classes, 1.0, 0.5, classification("balanced_accuracy")),
    "macro F1": (classes, 1.0, 0.3, classification("f1")),
    "Brier score": (classes, 1.0, 0.5, classification("brier")),
    "MAE": (numbers, 0.7, 0.0, regression("mae")),
    "R2": (numbers, 0.7, 0.0, regression("r2")),
    "Pearson r 0.7": (numbers, 0.7, 0.0, regression("pearson")),
    "Pearson r 0": (numbers, 0.0, 0.0, regression("pearson")),
    "C-index 0.50": (survival, 0.0, 0.3, c_index),
    "C-index 0.7": (survival, 0.8, 0.3, c_index),
}


def levels(people: int) -> tuple[float, float]:
    """Return the lower percentile level: plain, and expanded."""
    tail = (1 - LEVEL) / 2
    wider = np.sqrt(people / (people - 1)) * stats.t.ppf(tail, people - 1)
    return tail, float(stats.norm.cdf(wider))


def intervals(sample: Sample, metric: Metric, resamples: int, seed: int) -> dict[str, tuple[float, float]]:
    """Return every kind of interval from the same resamples; NaN where undefined."""
    people = len(sample[0])
    carries = np.eye(3, dtype=bool)[sample[0]] if sample[0].dtype == np.int64 else None
    weights = resample_people(people, resamples, seed, carries).weights.astype(np.float64)
    point, spread = metric(sample, None)[0], metric(sample, weights)
    left_out = metric(sample, 1 - np.eye(people))
    spread, left_out = spread[np.isfinite(spread)], left_out[np.isfinite(left_out)]
    below = np.mean(spread < point) + 0.5 * np.mean(spread == point)
    bias = stats.norm.ppf(np.clip(below, 1 / resamples, 1 - 1 / resamples))
    gap = left_out.mean() - left_out
    size = np.sqrt((gap**2).sum()) ** 3
    acceleration = (gap**3).sum() / (6 * size) if size > 0 else 0.0
    limits = {}
    for suffix, tail in zip(("", "+"), levels(people), strict=True):
        z = bias + stats.norm.ppf([tail, 1 - tail])
        shifted = stats.norm.cdf(bias + z / (1 - acceleration * z))
        limits["percentile" if not suffix else "expanded"] = np.quantile(spread, [tail, 1 - tail])
        limits["bca" + suffix] = np.quantile(spread, shifted)
    return {name: (float(low), float(high)) for name, (low, high) in limits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=500, help="drawn from each population")
    parser.add_argument("--resamples", type=int, default=1000, help="of people, in each sample")
    parser.add_argument("--people", type=int, nargs="+", default=[20, 30, 60, 100])
    given = parser.parse_args()
    heads = [f"{kind:>18}" for kind in KINDS]
    print(f"{'metric':<28}{'people':>7}" + "".join(heads) + "     (coverage, mean width)")
    total: dict[tuple[int, str], list[float]] = {}
    for name, (draw, effect, share, metric) in SCENES.items():
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        truth = np.mean([metric(draw(rng, 2000, effect, share), None)[0] for _ in range(100)])
        for people in given.people:
            hits, widths = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0.0)
            for number in range(given.samples):
                sample = draw(rng, people, effect, share)
                for kind, (low, high) in intervals(sample, metric, given.resamples, number).items():
                    hits[kind] += low <= truth <= high
                    widths[kind] += (high - low) / given.samples
            cells = []
            for kind in KINDS:
                coverage = hits[kind] / given.samples
                total.setdefault((people, kind), []).append(coverage)
                cells.append(f"{coverage:>9.1%} {widths[kind]:>8.3f}")
            print(f"{name:<28}{people:>7}" + "".join(cells), flush=True)
    for people in given.people:
        cells = [f"{np.mean(total[people, kind]):>9.1%} {'':>8}" for kind in KINDS]
        print(f"{'mean of all':<28}{people:>7}" + "".join(cells))


if __name__ == "__main__":
    main()
