"""Draw a metric by the number of labelled cases."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from braindino.analysis.figures.data_uris import svg
from braindino.analysis.figures.style import INK, baseline_style, colour, dashes, legend, literal, panels


class FractionPoint(NamedTuple):
    """A point of a curve.

    Attributes:
        train_cases: number of labelled training cases, mean over seeds.
        value: the metric; None where it is undefined.
        low: lower end of its interval, or None.
        high: upper end of its interval, or None.
        baseline: whether the curve belongs to a baseline.
    """

    train_cases: float
    value: float | None
    low: float | None
    high: float | None
    baseline: bool


def fractions_figure(curves: Mapping[str, Sequence[FractionPoint]], metric: str, zero: bool = False) -> str:
    """Draw a metric by the number of labelled cases, with intervals; baselines are dashed.

    Args:
        curves: name -> points, one per label fraction.
        metric: its name, for the axis.
        zero: draw a line at 0, for differences.

    Returns:
        An SVG as a data URI.
    """
    with panels(size=(5.4, 3.4)) as (figure, axes):
        axis = axes[0]
        models = baselines = 0
        for name, points in curves.items():
            x = [point.train_cases for point in points]
            y, low, high = (
                np.array([getattr(point, key) for point in points], dtype=np.float64)
                for key in ("value", "low", "high")
            )
            if points[0].baseline:
                style = baseline_style(baselines)
                baselines += 1
                axis.plot(x, y, markersize=4, linewidth=1.4, label=literal(name), **style)
                continue
            line: dict[str, Any] = {"color": colour(models), "linestyle": dashes(models), "marker": "o"}
            axis.plot(x, y, markersize=4, linewidth=1.4, label=literal(name), **line)
            if len(points) > 1:
                axis.fill_between(x, low, high, color=colour(models), alpha=0.15, linewidth=0)
            else:
                axis.vlines(x, low, high, color=colour(models), linewidth=1.4)
            models += 1
        if zero:
            axis.axhline(0, color=INK, linewidth=0.9)
        axis.set_xscale("log")
        ticks = sorted({round(point.train_cases) for points in curves.values() for point in points})
        axis.set_xticks(ticks, [f"{tick}" for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel("labelled cases")
        axis.set_ylabel(literal(metric))
        axis.grid(axis="y", color="#e3e6ea", linewidth=0.7)
        legend(axis, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg(figure)
