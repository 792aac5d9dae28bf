"""Compute classification metrics for many weighted resamples of a sample at once."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from braindino.analysis.metrics.weighting import Floats, check_weights, nanmean, ratio

CALIBRATION_BINS = 15


def classification_metrics(
    target: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    prediction: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> dict[str, Floats]:
    """Return every classification metric for each of R weightings of the same N cases.

    Args:
        target: (N,) index of the true class.
        probabilities: (N, C), rows summing to 1.
        classes: C names, used in the names of the per-class metrics.
        prediction: (N,) index of the predicted class; by default the most probable one.
        weights: (R, N), how often each case counts; by default one row of ones.

    Returns:
        name -> (R,): `auroc` (macro one-vs-rest), `balanced_accuracy`, `accuracy`, `f1` (macro), `brier`,
        `ece`, `sensitivity_<class>`, `specificity_<class>`, `f1_<class>` (for two classes that of the second
        is the binary F1). A metric is NaN where it is undefined. A class without a case is excluded from
        macro averages; `f1` includes it, as scikit-learn does, if it is predicted. `brier` is the mean
        squared distance of the probabilities from the truth, summed over classes, halved for two classes
        (Brier 1950 and the usual binary form). `ece` has 15 equal bins of the highest probability (Guo et al.
        2017, eq. 3).

    Raises:
        ValueError: no cases, or shapes or targets that do not fit.
    """
    truth = np.asarray(target, dtype=np.int64)
    scores = np.asarray(probabilities, dtype=np.float64)
    count = len(classes)
    if scores.shape != (len(truth), count):
        raise ValueError(f"probabilities are {scores.shape}, expected ({len(truth)}, {count})")
    if len(truth) and not (truth.min() >= 0 and truth.max() < count):
        raise ValueError(f"targets must be 0 to {count - 1}, found {truth.min()} to {truth.max()}")
    chosen = scores.argmax(axis=1) if prediction is None else np.asarray(prediction, dtype=np.int64)
    weight = check_weights(weights, len(truth))

    confusion = confusion_matrix(truth, chosen, count, weight)
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    actual, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    total = actual.sum(axis=1, keepdims=True)
    sensitivity = ratio(hits, actual)
    specificity = ratio(total - actual - predicted + hits, total - actual)

    f1 = ratio(2 * hits, actual + predicted)
    onehot = np.eye(count)[truth]
    distance = ((scores - onehot) ** 2).sum(axis=1) * (0.5 if count == 2 else 1.0)
    metrics = {
        "auroc": _macro_auroc(onehot, scores, weight),
        "balanced_accuracy": nanmean(sensitivity),
        "accuracy": ratio(hits.sum(axis=1), total[:, 0]),
        "f1": nanmean(f1),
        "brier": ratio(weight @ distance, total[:, 0]),
        "ece": _calibration_error(truth == chosen, scores.max(axis=1), weight),
    }
    for index, name in enumerate(classes):
        metrics[f"sensitivity_{name}"] = sensitivity[:, index]
        metrics[f"specificity_{name}"] = specificity[:, index]
        metrics[f"f1_{name}"] = f1[:, index]
    return metrics


def confusion_matrix(
    target: ArrayLike, prediction: ArrayLike, classes: int, weights: ArrayLike | None = None
) -> Floats:
    """Return weighted counts (R, C, C), true class in rows, predicted class in columns.

    Args:
        target: (N,) index of the true class.
        prediction: (N,) index of the predicted class.
        classes: C.
        weights: (R, N), how often each case counts; by default one row of ones.
    """
    truth, chosen = np.asarray(target, dtype=np.int64), np.asarray(prediction, dtype=np.int64)
    weight = check_weights(weights, len(truth))
    cells = np.eye(classes * classes)[truth * classes + chosen]
    counts: Floats = (weight @ cells).reshape(len(weight), classes, classes)
    return counts


def _macro_auroc(onehot: Floats, scores: Floats, weight: Floats) -> Floats:
    if scores.shape[1] == 2:
        return auroc(onehot[:, 1], scores[:, 1], weight)
    each = [auroc(onehot[:, index], scores[:, index], weight) for index in range(scores.shape[1])]
    return nanmean(np.stack(each, axis=1))


def auroc(positive: Floats, score: Floats, weight: Floats) -> Floats:
    """Return the AUROC (R,): the chance that a positive scores above a negative, ties half.

    Args:
        positive: (N,) 1 for positives, 0 for negatives.
        score: (N,).
        weight: (R, N), how often each case counts.
    """
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    weight, positive = weight[:, order], positive[order]
    hits = np.add.reduceat(weight * positive, starts, axis=1)
    misses = np.add.reduceat(weight * (1 - positive), starts, axis=1)
    below = np.cumsum(misses, axis=1) - misses
    wins = (hits * (below + 0.5 * misses)).sum(axis=1)
    return ratio(wins, hits.sum(axis=1) * misses.sum(axis=1))


def _calibration_error(correct: NDArray[np.bool_], confidence: Floats, weight: Floats) -> Floats:
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]
    bins = np.eye(CALIBRATION_BINS)[np.searchsorted(edges, confidence, side="left")]
    gaps = weight @ (bins * (correct - confidence)[:, None])
    return ratio(np.abs(gaps).sum(axis=1), weight.sum(axis=1))
