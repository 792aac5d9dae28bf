"""Draw Kaplan-Meier curves."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from braindino.analysis.figures.data_uris import svg
from braindino.analysis.figures.style import COLOURS, GREY, PANEL, legend, literal, panels
from braindino.analysis.formatting import format_p_value


def kaplan_meier_figure(models: Mapping[str, Mapping[str, Any]], unit: str) -> str:
    """Draw survival above and below the training part's median risk, with the numbers at risk.

    Args:
        models: name -> the result of `kaplan_meier_by_risk`.
        unit: unit of time, for the axis.

    Returns:
        An SVG as a data URI.
    """
    with panels(len(models), size=(PANEL[0] + 0.5, PANEL[1] + 0.5)) as (figure, axes):
        for axis, (name, curves) in zip(axes, models.items(), strict=True):
            ticks = curves["ticks"]
            for index, group in enumerate(("low", "high")):
                part = curves["groups"][group]
                axis.step(
                    [0, *part["time"]],
                    [1, *part["survival"]],
                    where="post",
                    color=COLOURS[index],
                    linewidth=1.5,
                    label=f"{group} risk: {part['events']} events of {part['cases']}",
                )
                for tick, count in zip(ticks, part["at_risk"], strict=True):
                    _write_below(axis, f"{count}", tick, -44 - 12 * index, COLOURS[index])
            axis.annotate(
                "at risk",
                (0, 0),
                (-26, -44),
                textcoords="offset points",
                xycoords="axes fraction",
                ha="right",
                fontsize=8,
                color=GREY,
                annotation_clip=False,
            )
            axis.set_ylim(0, 1.02)
            axis.set_xlim(0, max(ticks) or 1)
            axis.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
            axis.set_xlabel(f"time ({unit})" if unit else "time")
            axis.set_ylabel("survival")
            test = curves["logrank"]
            suffix = "" if test is None else f", log-rank p {format_p_value(test['p'])}"
            axis.set_title(f"{literal(name)}{suffix}")
            legend(axis, loc="lower left")
        return svg(figure)


def _write_below(axis: Axes, text: str, x: float, offset: float, color: str) -> None:
    """Write text below the axis at `x`, `offset` points from it."""
    axis.annotate(
        text,
        (x, 0),
        (0, offset),
        textcoords="offset points",
        xycoords=("data", "axes fraction"),
        ha="center",
        fontsize=8,
        color=color,
        annotation_clip=False,
    )
