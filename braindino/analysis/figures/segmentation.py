"""Draw a measure of every case, and slices with the outlines of truth and prediction."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from braindino.analysis.figures.data_uris import svg
from braindino.analysis.figures.slice_view import mark_sides, views_from_arrays
from braindino.analysis.figures.style import INK, PANEL, colour, legend, literal, offsets, panels
from braindino.analysis.metrics.segmentation import measures_of

# Key of an .npz with examples, and the line style and label of its outline.
OUTLINES = {"truth": ("-", "truth"), "answer": ("--", "prediction")}


def share_figure(models: Mapping[str, Sequence[pd.DataFrame]], measure: str, label: str) -> str:
    """Draw a share of every case (mean over seeds) by region: points, quartiles and median.

    Args:
        models: name -> test rows of predictions.csv, one table per seed.
        measure: a measure from 0 to 1 (`measures_of`): "dice" or "nsd".
        label: its name at the axis.

    Returns:
        An SVG as a data URI.
    """
    regions = list(dict.fromkeys(next(iter(models.values()))[0]["region"]))
    rng = np.random.default_rng(0)
    with panels(size=(max(PANEL[0], 0.9 * len(models) * len(regions) + 1.6), PANEL[1])) as (figure, axes):
        axis = axes[0]
        for index, (name, tables) in enumerate(models.items()):
            measured = [table.assign(share=measures_of(table)[measure]) for table in tables]
            cases = pd.concat(measured).groupby(["region", "case"])["share"].mean()
            values = [cases.loc[region].dropna().to_numpy() for region in regions]
            middle = np.arange(len(regions)) + offsets(len(models))[index]
            line = {"color": colour(index)}
            axis.boxplot(
                values,
                positions=middle,
                widths=0.5 / len(models),
                showfliers=False,
                manage_ticks=False,
                medianprops={"color": INK},
                boxprops=line,
                whiskerprops=line,
                capprops=line,
            )
            for x, shares in zip(middle, values, strict=True):
                noise = rng.uniform(-0.12, 0.12, size=len(shares)) / len(models)
                axis.scatter(x + noise, shares, s=9, alpha=0.5, color=colour(index), linewidths=0)
            axis.plot([], [], color=colour(index), linewidth=3, label=literal(name))
        axis.set_xticks(range(len(regions)), [literal(region, 16) for region in regions])
        axis.set_ylim(-0.02, 1.02)
        axis.set_ylabel(label)
        axis.grid(axis="y", color="#e3e6ea", linewidth=0.7)
        legend(axis, loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg(figure)


def examples_figure(examples: Mapping[str, Any]) -> str:
    """Draw slices with outlines of truth (solid) and prediction (dashed), a colour per region.

    Args:
        examples: the arrays of a cell's examples.npz: `place`, `case`, `dice`, `image` (N, H, W), `truth` and
            `answer` (N, R, H, W), `regions`, and those of the slice views (`views_to_arrays`).

    Returns:
        An SVG as a data URI.
    """
    images = examples["image"]
    views = views_from_arrays(examples, len(images))
    height = PANEL[0] * max(view.height(images.shape[1:]) for view in views)
    with panels(len(images), size=(PANEL[0], height + 0.6)) as (figure, axes):
        for number, (axis, view) in enumerate(zip(axes, views, strict=True)):
            axis.imshow(images[number], cmap="gray", vmin=0, vmax=255, origin=view.origin, aspect=view.aspect)
            mark_sides(axis, view, 9)
            for index, region in enumerate(examples["regions"]):
                for key, (style, kind) in OUTLINES.items():
                    mask = examples[key][number, index]
                    line = colour(index + 1)
                    if mask.any() and not mask.all():
                        axis.contour(mask, [0.5], colors=[line], linewidths=1.3, linestyles=style)
                    axis.plot([], [], color=line, linestyle=style, label=f"{literal(region)}, {kind}")
            axis.set_axis_off()
            dice = float(examples["dice"][number])
            score = "true mask is empty" if np.isnan(dice) else f"Dice {dice:.2f}"
            axis.set_title(f"{examples['place'][number]}: {score}\n{literal(examples['case'][number], 36)}")
        legend(axes[-1], loc="center left", bbox_to_anchor=(1.0, 0.5))
        return svg(figure)
