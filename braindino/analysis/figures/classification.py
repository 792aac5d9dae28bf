"""Figures of a classification: ROC curves, calibration, confusion matrix."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from braindino.analysis.figures.style import GREY, colour, dashes, legend, literal, panels, square, svg
from braindino.analysis.metrics.classification import Floats, auroc
from braindino.analysis.predictions import class_names, probability_columns
from braindino.analysis.report.text import number

GRID = np.linspace(0, 1, 201)
BINS = 10
FEWEST = 5  # answers in a bin of the calibration, below which it is not drawn


def roc_figure(models: Mapping[str, Sequence[pd.DataFrame]]) -> str:
    """ROC curves of several models: a panel per class against the rest (one panel of two classes).

    A curve is the mean over seeds of the sensitivity at each false-positive rate. The number beside a model
    is the mean over seeds of the AUROC, computed as the tables do.

    Args:
        models: name -> test rows of predictions.csv, a table per seed.
    """
    names = class_names(next(iter(models.values()))[0])
    shown = [(1, names[1])] if len(names) == 2 else list(enumerate(names))
    with panels(len(shown)) as (figure, axes):
        for axis, (index, name) in zip(axes, shown, strict=True):
            axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
            for place, (model, tables) in enumerate(models.items()):
                answers = [_positives(table, name, index) for table in tables]
                curves = [curve for each in answers if (curve := roc(*each)) is not None]
                if not curves:
                    continue
                mean = np.mean(curves, axis=0)
                area = number(mean_auroc(answers))
                for curve in curves if len(curves) > 1 else []:
                    axis.plot(GRID, curve, color=colour(place), linewidth=0.5, alpha=0.25)
                axis.plot(
                    GRID, mean, color=colour(place), linestyle=dashes(place), linewidth=1.6,
                    label=f"{literal(model)}  {area}",
                )  # fmt: skip
            square(axis, 0, 1, 0.01)
            axis.set_xlabel("1 - specificity")
            axis.set_ylabel("sensitivity")
            axis.set_title(literal(name) if len(names) == 2 else f"{literal(name)} against the rest")
            legend(axis, loc="lower right", title="AUROC", title_fontsize=8)
        return svg(figure)


def mean_auroc(answers: Sequence[tuple[NDArray[np.bool_], Floats]]) -> float:
    """Return the mean over seeds of the AUROC, over those in which it is defined.

    Args:
        answers: (N,) whether a case is of the class, and (N,) its score; one pair per seed.
    """
    areas = [float(auroc(true.astype(float), score, np.ones((1, len(true))))[0]) for true, score in answers]
    return float(np.nanmean(areas))


def _positives(table: pd.DataFrame, name: str, index: int) -> tuple[NDArray[np.bool_], Floats]:
    true = (table["target"].astype(str) == name).to_numpy()
    return true, table[probability_columns(table)[index]].to_numpy(dtype=np.float64)


def roc(positive: NDArray[np.bool_], score: Floats) -> Floats | None:
    """Sensitivity at each false-positive rate of `GRID`, ties joined by a line; None without both classes."""
    if positive.all() or not positive.any():
        return None
    order = np.argsort(-score, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(score[order])), len(score) - 1]
    hits = np.r_[0, np.cumsum(positive[order])[last]] / positive.sum()
    misses = np.r_[0, np.cumsum(~positive[order])[last]] / (~positive).sum()
    # Of a vertical step the upper end counts, but the curve begins at 0.
    return np.asarray(np.interp(GRID, misses + 1e-12 * np.arange(len(misses)), hits))


def calibration_figure(models: Mapping[str, Sequence[pd.DataFrame]]) -> str:
    """How often an answer is right (two classes: how often the second is true) by its probability.

    Ten equal bins over the answers of all seeds; bins of fewer than five answers are left out.

    Args:
        models: name -> test rows of predictions.csv, a table per seed.
    """
    names = class_names(next(iter(models.values()))[0])
    with panels() as (figure, axes):
        axis = axes[0]
        axis.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
        for place, (model, tables) in enumerate(models.items()):
            told, true = _answers(pd.concat(tables), names)
            bins = np.clip((told * BINS).astype(int), 0, BINS - 1)
            counts = np.bincount(bins, minlength=BINS)
            kept = counts >= FEWEST
            mean, share = (
                np.bincount(bins, weights=values, minlength=BINS)[kept] / counts[kept]
                for values in (told, true)
            )
            axis.plot(mean, share, color=colour(place), linewidth=1.2, label=literal(model))
            axis.scatter(mean, share, s=120 * counts[kept] / counts.max() + 8, color=colour(place), alpha=0.7)
        square(axis, 0, 1, 0.02)
        two = len(names) == 2
        axis.set_xlabel(f"probability of {literal(names[1])}" if two else "probability of the answer")
        axis.set_ylabel(f"share of {literal(names[1])}" if two else "share of right answers")
        legend(axis, loc="upper left")
        return svg(figure)


def confusion_figure(counts: Mapping[str, NDArray[np.float64]], classes: Sequence[str]) -> str:
    """A confusion matrix per model: shares of the true class, and below them cases (mean over seeds).

    Args:
        counts: name -> (C, C) cases, true class in rows.
    """
    side = min(5.2, max(2.6, 0.55 * len(classes) + 1.7))
    with panels(len(counts), size=(side, side * 0.92)) as (figure, axes):
        for axis, (model, cases) in zip(axes, counts.items(), strict=True):
            total = cases.sum(axis=1, keepdims=True)
            share = np.divide(cases, total, out=np.zeros_like(cases), where=total > 0)
            axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
            for row, column in np.ndindex(*cases.shape):
                dark = share[row, column] > 0.55
                axis.text(
                    column, row, f"{share[row, column]:.0%}\n{cases[row, column]:.3g}",
                    ha="center", va="center", fontsize=8, color="white" if dark else "#22262c",
                )  # fmt: skip
            ticks = [literal(name, 14) for name in classes]
            turned = 35 if max(map(len, ticks)) > 6 else 0
            axis.set_xticks(range(len(classes)), ticks, rotation=turned, ha="right" if turned else "center")
            axis.set_yticks(range(len(classes)), ticks)
            axis.set_xlabel("answer")
            axis.set_ylabel("truth")
            axis.spines[:].set_visible(False)
            axis.tick_params(length=0)
            axis.set_title(literal(model))
        return svg(figure)


def _answers(table: pd.DataFrame, names: Sequence[str]) -> tuple[Floats, Floats]:
    probability = table[probability_columns(table)].to_numpy(dtype=np.float64)
    target = pd.Index(names).get_indexer(pd.Index(table["target"].astype(str)))
    if len(names) == 2:
        return probability[:, 1], (target == 1).astype(np.float64)
    return probability.max(axis=1), (probability.argmax(axis=1) == target).astype(np.float64)
