"""Figures of numbers, survival and segmentation, and of what labels are worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from braindino.analysis.figures.slices import mark_sides, views_of_arrays
from braindino.analysis.figures.style import (
    COLOURS,
    GREY,
    PANEL,
    POINTS,
    baseline_style,
    colour,
    dashes,
    legend,
    literal,
    panels,
    spread,
    square,
    svg,
)
from braindino.analysis.report.text import p_value

Line = Mapping[str, Any]


def fractions_figure(models: Mapping[str, Sequence[Line]], metric: str) -> str:
    """A metric by the number of labelled cases, with its interval over people; baselines are dashed.

    Args:
        models: name -> {`train_cases`, `value`, `low`, `high`, `baseline`} at each label fraction.
    """
    with panels(size=(5.4, 3.4)) as (figure, axes):
        axis = axes[0]
        place = baselines = -1
        for name, lines in models.items():
            baseline = bool(lines[0]["baseline"])
            place, baselines = (place, baselines + 1) if baseline else (place + 1, baselines)
            x = [line["train_cases"] for line in lines]
            y, low, high = (
                np.array([line[key] for line in lines], dtype=np.float64) for key in ("value", "low", "high")
            )
            style: Any = (
                baseline_style(baselines)
                if baseline
                else {"color": colour(place), "linestyle": dashes(place), "marker": "o"}
            )
            axis.plot(x, y, markersize=4, linewidth=1.4, label=literal(name), **style)
            if not baseline and len(lines) > 1:
                axis.fill_between(x, low, high, color=colour(place), alpha=0.15, linewidth=0)
            elif not baseline:
                axis.vlines(x, low, high, color=colour(place), linewidth=1.4)
        axis.set_xscale("log")
        ticks = sorted({round(line["train_cases"]) for lines in models.values() for line in lines})
        axis.set_xticks(ticks, [f"{tick}" for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel("labelled cases")
        axis.set_ylabel(literal(metric))
        axis.grid(axis="y", color="#e3e6ea", linewidth=0.7)
        legend(axis, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg(figure)


def scatter_figure(
    models: Mapping[str, Sequence[pd.DataFrame]], lines: Mapping[str, tuple[float, float] | None], unit: str
) -> str:
    """Prediction by truth of each case (mean over seeds), and the line of the bias.

    Args:
        models: name -> test rows of predictions.csv, a table per seed.
        lines: name -> slope and intercept of prediction by truth, fitted on validation.
        unit: of the target, for the axes.
    """
    answers = [pd.concat(each).groupby("case")[["target", "prediction"]].mean() for each in models.values()]
    low = min(float(cases.to_numpy().min()) for cases in answers)
    high = max(float(cases.to_numpy().max()) for cases in answers)
    with panels(len(models), size=(PANEL[0], PANEL[1] + 0.4)) as (figure, axes):
        for place, (axis, name, cases) in enumerate(zip(axes, models, answers, strict=True)):
            axis.plot([low, high], [low, high], color=GREY, linewidth=0.8, linestyle="--", label="identity")
            many = len(cases) > POINTS
            axis.scatter(
                cases["target"], cases["prediction"], s=4 if many else 12, alpha=0.55,
                color=colour(place), linewidths=0, rasterized=many,
            )  # fmt: skip
            line = lines[name]
            if line is not None:
                ends = np.array([cases["target"].min(), cases["target"].max()])
                axis.plot(
                    ends, line[1] + line[0] * ends, color="#22262c", linewidth=1.4,
                    label=f"bias line, slope {line[0]:.2f}",
                )  # fmt: skip
            square(axis, low, high, 0.03 * (high - low) or 1.0)
            axis.set_xlabel(f"truth ({unit})" if unit else "truth")
            axis.set_ylabel(f"prediction ({unit})" if unit else "prediction")
            axis.set_title(literal(name))
            legend(axis, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)  # points are everywhere
        return svg(figure)


def kaplan_meier_figure(models: Mapping[str, Mapping[str, Any]], unit: str) -> str:
    """Survival of the cases above and up to the training part's median risk, with the numbers at risk.

    Args:
        models: name -> what `kaplan_meier_by_risk` gives.
        unit: of time, for the axis.
    """
    with panels(len(models), size=(PANEL[0] + 0.5, PANEL[1] + 0.5)) as (figure, axes):
        for axis, (name, curves) in zip(axes, models.items(), strict=True):
            ticks = curves["ticks"]
            for place, group in enumerate(("low", "high")):
                part = curves["groups"][group]
                axis.step(
                    [0, *part["time"]], [1, *part["survival"]], where="post", color=COLOURS[place],
                    linewidth=1.5, label=f"{group} risk: {part['events']} events of {part['cases']}",
                )  # fmt: skip
                for tick, count in zip(ticks, part["at_risk"], strict=True):
                    axis.annotate(
                        f"{count}", (tick, 0), (0, -44 - 12 * place), textcoords="offset points",
                        xycoords=("data", "axes fraction"), ha="center", fontsize=8,
                        color=COLOURS[place], annotation_clip=False,
                    )  # fmt: skip
            axis.annotate(
                "at risk", (0, 0), (-26, -44), textcoords="offset points", xycoords="axes fraction",
                ha="right", fontsize=8, color=GREY, annotation_clip=False,
            )  # fmt: skip
            axis.set_ylim(0, 1.02)
            axis.set_xlim(0, max(ticks) or 1)
            axis.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
            axis.set_xlabel(f"time ({unit})" if unit else "time")
            axis.set_ylabel("survival")
            test = curves["logrank"]
            told = "" if test is None else f", log-rank p {p_value(test['p'])}"
            axis.set_title(f"{literal(name)}{told}")
            legend(axis, loc="lower left")
        return svg(figure)


def dice_figure(models: Mapping[str, Sequence[pd.DataFrame]]) -> str:
    """Dice of every case (mean over seeds) by region: points, quartiles and median.

    Args:
        models: name -> test rows of predictions.csv, a table per seed.
    """
    regions = list(dict.fromkeys(next(iter(models.values()))[0]["region"]))
    rng = np.random.default_rng(0)
    with panels(size=(max(PANEL[0], 0.9 * len(models) * len(regions) + 1.6), PANEL[1])) as (figure, axes):
        axis = axes[0]
        offsets = spread(len(models))
        for place, (name, tables) in enumerate(models.items()):
            cases = pd.concat(tables).groupby(["region", "case"])["dice"].mean()
            values = [cases.loc[region].dropna().to_numpy() for region in regions]
            middle = np.arange(len(regions)) + offsets[place]
            axis.boxplot(
                values, positions=middle, widths=0.5 / len(models), showfliers=False, manage_ticks=False,
                medianprops={"color": "#22262c"}, boxprops={"color": colour(place)},
                whiskerprops={"color": colour(place)}, capprops={"color": colour(place)},
            )  # fmt: skip
            for x, dice in zip(middle, values, strict=True):
                noise = rng.uniform(-0.12, 0.12, size=len(dice)) / len(models)
                axis.scatter(x + noise, dice, s=9, alpha=0.5, color=colour(place), linewidths=0)
            axis.plot([], [], color=colour(place), linewidth=3, label=literal(name))
        axis.set_xticks(range(len(regions)), [literal(region, 16) for region in regions])
        axis.set_ylim(-0.02, 1.02)
        axis.set_ylabel("Dice")
        axis.grid(axis="y", color="#e3e6ea", linewidth=0.7)
        legend(axis, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg(figure)


def examples_figure(examples: Mapping[str, Any]) -> str:
    """Slices with the outlines of truth (solid) and answer (dashed), a colour per region.

    Args:
        examples: the arrays of a cell's examples.npz: `place`, `case`, `dice`, `image` (N, H, W), `truth` and
            `answer` (N, R, H, W), `regions`; and of the views, see `views_to_arrays`.
    """
    images = examples["image"]
    views = views_of_arrays(examples, len(images))
    tall = PANEL[0] * max(view.height(images.shape[1:]) for view in views)
    with panels(len(images), size=(PANEL[0], tall + 0.6)) as (figure, axes):
        for number, (axis, view) in enumerate(zip(axes, views, strict=True)):
            axis.imshow(images[number], cmap="gray", vmin=0, vmax=255, origin=view.origin, aspect=view.aspect)
            mark_sides(axis, view, 9)
            for place, region in enumerate(examples["regions"]):
                for kind, style in (("truth", "-"), ("answer", "--")):
                    mask = examples[kind][number, place]
                    if mask.any() and not mask.all():
                        axis.contour(
                            mask, [0.5], colors=[colour(place + 1)], linewidths=1.3, linestyles=style
                        )
                    label = f"{literal(region)}, {kind}"
                    axis.plot([], [], color=colour(place + 1), linestyle=style, label=label)
            axis.set_axis_off()
            dice = float(examples["dice"][number])
            told = (
                f"{examples['place'][number]}: {'nothing to find' if np.isnan(dice) else f'Dice {dice:.2f}'}"
            )
            axis.set_title(f"{told}\n{literal(examples['case'][number], 36)}")
        legend(axes[-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg(figure)
