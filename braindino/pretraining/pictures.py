"""Pictures of a pretraining run: patch tokens by their colours, and views with their masks."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from braindino.files import atomic_write

Array = npt.NDArray[np.float32]


def draw_patches(path: Path, slices: Array, colours: Array, title: str) -> None:
    """Slices (N, H, W) above, the colours of their patches (N, h, w, 3) below, as a PNG."""
    figure, axes = _panels(2, len(slices), title)
    for i, (image, colour) in enumerate(zip(slices, colours, strict=True)):
        axes[0, i].imshow(image, cmap="gray", vmin=_low(image), vmax=_high(image))
        axes[1, i].imshow(colour, interpolation="nearest")
    _save(figure, path)


def draw_views(path: Path, rows: list[list[tuple[str, Array]]], title: str) -> None:
    """One row per slice of named pictures, (H, W) grey or (H, W, 3) in 0 to 1, as a PNG."""
    figure, axes = _panels(len(rows), max(len(row) for row in rows), title)
    for r, row in enumerate(rows):
        for c, (name, image) in enumerate(row):
            axes[r, c].imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            if r == 0:
                axes[r, c].set_title(f"{name}\n{image.shape[0]} px", fontsize=7)
    _save(figure, path)


def grey(image: Array, reference: Array) -> Array:
    """`image` scaled to 0-1 by the window of `reference`, so that changes of intensity can be seen."""
    return np.clip((image - _low(reference)) / max(_high(reference) - _low(reference), 1e-6), 0, 1)


def with_mask(image: Array, mask: npt.NDArray[np.bool_]) -> Array:
    """Grey (S, S) in 0-1 as (S, S, 3), masked patches of the grid `mask` (h, w) tinted red."""
    side = image.shape[0] // mask.shape[0]
    large = np.kron(mask, np.ones((side, side), bool))[..., None]
    colour = np.repeat(image[..., None], 3, axis=-1)
    return np.where(large, 0.35 * colour + 0.65 * np.array([0.85, 0.2, 0.15], np.float32), colour)


def _low(image: Array) -> float:
    return float(np.percentile(image, 0.5))


def _high(image: Array) -> float:
    return float(np.percentile(image, 99.5))


def _panels(rows: int, columns: int, title: str) -> tuple[Any, Any]:
    # A Figure of its own draws by Agg into a file: no window system, and no state shared with a notebook.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.5 * columns, 1.5 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    figure.suptitle(title, fontsize=9)
    return figure, axes


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        figure.savefig(file, format="png", dpi=120)
