"""Draw predictions by truth of a regression."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from braindino.analysis.figures.data_uris import svg
from braindino.analysis.figures.style import (
    GREY,
    INK,
    MAX_VECTOR_POINTS,
    PANEL,
    colour,
    legend,
    literal,
    panels,
    square,
)


def scatter_figure(
    models: Mapping[str, Sequence[pd.DataFrame]], lines: Mapping[str, tuple[float, float] | None], unit: str
) -> str:
    """Draw prediction by truth of each case (mean over seeds), and the bias line.

    Args:
        models: name -> test rows of predictions.csv, one table per seed.
        lines: name -> slope and intercept of prediction by truth, fitted on validation; None for no line.
        unit: unit of the target, for the axes.

    Returns:
        An SVG as a data URI.
    """
    means = [pd.concat(tables).groupby("case")[["target", "prediction"]].mean() for tables in models.values()]
    low = min(float(cases.to_numpy().min()) for cases in means)
    high = max(float(cases.to_numpy().max()) for cases in means)
    with panels(len(models), size=(PANEL[0], PANEL[1] + 0.4)) as (figure, axes):
        for index, (axis, name, cases) in enumerate(zip(axes, models, means, strict=True)):
            axis.plot([low, high], [low, high], color=GREY, linewidth=0.8, linestyle="--", label="identity")
            many = len(cases) > MAX_VECTOR_POINTS
            axis.scatter(
                cases["target"],
                cases["prediction"],
                s=4 if many else 12,
                alpha=0.55,
                color=colour(index),
                linewidths=0,
                rasterized=many,
            )
            line = lines[name]
            if line is not None:
                slope, intercept = line
                ends = np.array([cases["target"].min(), cases["target"].max()])
                label = f"bias line, slope {slope:.2f}"
                axis.plot(ends, intercept + slope * ends, color=INK, linewidth=1.4, label=label)
            square(axis, low, high, 0.03 * (high - low) or 1.0)
            axis.set_xlabel(f"truth ({unit})" if unit else "truth")
            axis.set_ylabel(f"prediction ({unit})" if unit else "prediction")
            axis.set_title(literal(name))
            # Below the panel: points may be anywhere in it.
            legend(axis, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
        return svg(figure)
