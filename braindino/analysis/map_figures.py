"""Pictures of patch maps beside the slices they are of."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.ndimage import binary_fill_holes

from braindino.analysis.figures import STYLE, literal

CELL = 1.7  # inches


def map_montage(
    slices: np.ndarray,
    maps: Sequence[tuple[str, np.ndarray]],
    held: np.ndarray,
    numbers: Sequence[int],
    title: str,
    mark: tuple[int, int, int] | None = None,
    upright: bool = True,
) -> Figure:
    """Columns of slices; the first row shows them, each further row a map of their patches.

    Args:
        slices: (n, H, W), background 0.
        maps: title and (n, h, w) numbers, with a scale beside the row, or (n, h, w, 3) colours in 0-1.
        held: (n, h, w) bool, patches that count; the others stay black.
        numbers: (n,) of the slices, to be told above.
        mark: which of the n columns, patch row and column to frame in every row.
        upright: whether rows run from bottom to top, as those of the paper's contract do (front up).
    """
    n, height, width = slices.shape
    origin: Any = "lower" if upright else "upper"
    low, high = np.percentile(slices[slices != 0], (0.5, 99.5)) if slices.any() else (0.0, 1.0)
    # A voxel of the mean is 0 as the background is: only what is not enclosed is drawn black.
    outside = np.stack([~binary_fill_holes(plane != 0) for plane in slices])
    grey = np.ma.masked_where(outside, slices)
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(CELL * n + 1.2, CELL * height / width * (len(maps) + 1) + 0.6), layout="constrained"
        )
        axes = figure.subplots(len(maps) + 1, n, squeeze=False)
        for column in range(n):
            axes[0, column].imshow(grey[column], cmap="gray", vmin=low, vmax=high, origin=origin)
            axes[0, column].set_title(f"slice {numbers[column]}", fontsize=8, fontweight="normal")
        for row, (name, values) in enumerate(maps, start=1):
            shown = np.ma.masked_where(~held, values) if values.ndim == 3 else values
            scale = {"cmap": "viridis", "vmin": values[held].min(), "vmax": values[held].max()}
            for column in range(n):
                image = axes[row, column].imshow(
                    shown[column], origin=origin, interpolation="nearest",
                    extent=(-0.5, width - 0.5, -0.5, height - 0.5) if upright else None,
                    **(scale if values.ndim == 3 else {}),
                )  # fmt: skip
            axes[row, 0].set_ylabel(literal(name, 40), fontsize=8)
            if values.ndim == 3:
                figure.colorbar(image, ax=list(axes[row]), shrink=0.8, pad=0.01).ax.tick_params(labelsize=7)
        for axis in axes.flat:
            axis.set_facecolor("black")
            axis.set_xticks([])
            axis.set_yticks([])
        if mark is not None:
            _frame(axes, mark, held.shape[1:], (height, width))
        figure.suptitle(literal(title, 110), fontsize=9)
    return figure


def _frame(axes: Any, mark: tuple[int, int, int], grid: tuple[int, ...], size: tuple[int, int]) -> None:
    tall, wide = size[0] / grid[0], size[1] / grid[1]
    for axis in axes[:, mark[0]]:
        corner = (mark[2] * wide - 0.5, mark[1] * tall - 0.5)
        axis.add_patch(Rectangle(corner, wide, tall, fill=False, edgecolor="#ff3b30", linewidth=1.4))
