"""Draw ROC curves, calibration and confusion matrices of a classification."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from braindino.analysis.figures.data_uris import svg
from braindino.analysis.figures.style import GREY, INK, colour, dashes, legend, literal, panels, square
from braindino.analysis.formatting import format_number
from braindino.analysis.metrics.classification import auroc
from braindino.analysis.metrics.weighting import Floats
from braindino.analysis.predictions import class_names, probability_columns

GRID = np.linspace(0, 1, 201)
BINS = 10
MIN_PREDICTIONS = 5  # in a bin of the calibration; smaller bins are not drawn


def roc_figure(models: Mapping[str, Sequence[pd.DataFrame]]) -> str:
    """Draw ROC curves: a panel per class against the rest, or a single panel for two classes.

    A curve is the mean over seeds of the sensitivity at each false-positive rate. The number beside a model
    is the mean over seeds of the AUROC, as in the tables.

    Args:
        models: name -> test rows of predictions.csv, one table per seed.

    Returns:
        An SVG as a data URI.
    """
    names = class_names(next(iter(models.values()))[0])
    shown = [(1, names[1])] if len(names) == 2 else list(enumerate(names))
    with panels(len(shown)) as (figure, axes):
        for axis, (class_index, name) in zip(axes, shown, strict=True):
            axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
            for index, (model, tables) in enumerate(models.items()):
                _draw_roc(axis, model, index, [_scores(table, name, class_index) for table in tables])
            square(axis, 0, 1, 0.01)
            axis.set_xlabel("1 - specificity")
            axis.set_ylabel("sensitivity")
            axis.set_title(literal(name) if len(names) == 2 else f"{literal(name)} against the rest")
            legend(axis, loc="lower right", title="AUROC", title_fontsize=8)
        return svg(figure)


def _draw_roc(axis: Axes, model: str, index: int, scores: Sequence[tuple[NDArray[np.bool_], Floats]]) -> None:
    """Draw the curve of each seed, thin, and their mean."""
    curves = [curve for truth, score in scores if (curve := roc(truth, score)) is not None]
    if not curves:
        return
    for curve in curves if len(curves) > 1 else []:
        axis.plot(GRID, curve, color=colour(index), linewidth=0.5, alpha=0.25)
    label = f"{literal(model)}  {format_number(mean_auroc(scores))}"
    line: dict[str, Any] = {"color": colour(index), "linestyle": dashes(index), "linewidth": 1.6}
    axis.plot(GRID, np.mean(curves, axis=0), label=label, **line)


def mean_auroc(scores: Sequence[tuple[NDArray[np.bool_], Floats]]) -> float:
    """Return the mean AUROC of the seeds in which it is defined.

    Args:
        scores: (N,) whether a case is of the class, and (N,) its score; one pair per seed.
    """
    areas = [float(auroc(true.astype(float), score, np.ones((1, len(true))))[0]) for true, score in scores]
    return float(np.nanmean(areas))


def _scores(table: pd.DataFrame, name: str, index: int) -> tuple[NDArray[np.bool_], Floats]:
    """Return whether each case is of a class, and its probability of that class."""
    true = (table["target"].astype(str) == name).to_numpy()
    return true, table[probability_columns(table)[index]].to_numpy(dtype=np.float64)


def roc(positive: NDArray[np.bool_], score: Floats) -> Floats | None:
    """Return the sensitivity at each false-positive rate of `GRID`; None without both classes.

    Args:
        positive: (N,) whether a case is of the class.
        score: (N,) ties are joined by a straight line.
    """
    if positive.all() or not positive.any():
        return None
    order = np.argsort(-score, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(score[order])), len(score) - 1]
    hits = np.r_[0, np.cumsum(positive[order])[last]] / positive.sum()
    misses = np.r_[0, np.cumsum(~positive[order])[last]] / (~positive).sum()
    # The upper end of a vertical step counts, except at its start at rate 0, so that the curve begins at 0.
    return np.asarray(np.interp(GRID, misses + 1e-12 * np.arange(len(misses)), hits))


def calibration_figure(models: Mapping[str, Sequence[pd.DataFrame]]) -> str:
    """Draw the share of correct predictions by probability; for two classes of the second.

    For several classes it is the share of correct predictions by their probability, for two classes the share
    of the second class by its probability. Predictions of all seeds are put into ten equal bins; bins with
    fewer than five are not drawn.

    Args:
        models: name -> test rows of predictions.csv, one table per seed.

    Returns:
        An SVG as a data URI.
    """
    names = class_names(next(iter(models.values()))[0])
    with panels() as (figure, axes):
        axis = axes[0]
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
        for index, (model, tables) in enumerate(models.items()):
            confidence, correct = _confidence(pd.concat(tables), names)
            bins = np.clip((confidence * BINS).astype(int), 0, BINS - 1)
            counts = np.bincount(bins, minlength=BINS)
            large = counts >= MIN_PREDICTIONS
            mean, share = (
                np.bincount(bins, weights=values, minlength=BINS)[large] / counts[large]
                for values in (confidence, correct)
            )
            axis.plot(mean, share, color=colour(index), linewidth=1.2, label=literal(model))
            sizes = 120 * counts[large] / counts.max() + 8
            axis.scatter(mean, share, s=sizes, color=colour(index), alpha=0.7)
        square(axis, 0, 1, 0.02)
        two = len(names) == 2
        axis.set_xlabel(f"probability of {literal(names[1])}" if two else "probability of the prediction")
        axis.set_ylabel(f"share of {literal(names[1])}" if two else "share of correct predictions")
        legend(axis, loc="upper left")
        return svg(figure)


def confusion_figure(counts: Mapping[str, NDArray[np.float64]], classes: Sequence[str]) -> str:
    """Draw a confusion matrix per model: shares of the true class and numbers of cases.

    Args:
        counts: name -> (C, C) cases (mean over seeds), true class in rows.
        classes: C names.

    Returns:
        An SVG as a data URI.
    """
    side = min(5.2, max(2.6, 0.55 * len(classes) + 1.7))
    with panels(len(counts), size=(side, side * 0.92)) as (figure, axes):
        for axis, (model, cases) in zip(axes, counts.items(), strict=True):
            total = cases.sum(axis=1, keepdims=True)
            share = np.divide(cases, total, out=np.zeros_like(cases), where=total > 0)
            axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
            for row, column in np.ndindex(*cases.shape):
                axis.text(
                    column,
                    row,
                    f"{share[row, column]:.0%}\n{cases[row, column]:.3g}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="white" if share[row, column] > 0.55 else INK,
                )
            ticks = [literal(name, 14) for name in classes]
            turned = 35 if max(map(len, ticks)) > 6 else 0
            axis.set_xticks(range(len(classes)), ticks, rotation=turned, ha="right" if turned else "center")
            axis.set_yticks(range(len(classes)), ticks)
            axis.set_xlabel("prediction")
            axis.set_ylabel("truth")
            axis.spines[:].set_visible(False)
            axis.tick_params(length=0)
            axis.set_title(literal(model))
        return svg(figure)


def _confidence(table: pd.DataFrame, names: Sequence[str]) -> tuple[Floats, Floats]:
    """Return probability and correctness of the predicted class; for two classes of the second."""
    probability = table[probability_columns(table)].to_numpy(dtype=np.float64)
    target = pd.Index(names).get_indexer(pd.Index(table["target"].astype(str)))
    if len(names) == 2:
        return probability[:, 1], (target == 1).astype(np.float64)
    return probability.max(axis=1), (probability.argmax(axis=1) == target).astype(np.float64)
