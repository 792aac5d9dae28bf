"""Masks of global crops: blocks of patches by the published sampling, a batch at once."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from braindino.pretraining import limits

MIN_BLOCK = 4  # patches; BEiT's and DINOv2's sampling
LOG_ASPECT = (math.log(0.3), -math.log(0.3))
ATTEMPTS = 10


@dataclass(frozen=True)
class MaskConfig:
    """Amount of masking. Defaults: method.md "Pretraining".

    Args:
        share: part of the global crops that are masked at all.
        ratio: smallest and largest part of a masked crop's patches; spread evenly over the masked crops of a
            batch.

    Raises:
        BraindinoError: a number out of range.
    """

    share: float = 0.5
    ratio: tuple[float, float] = (0.1, 0.5)

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        limits.fraction(self, "masks", "share")
        limits.rising(self, "masks", "ratio", high=1.0)


@dataclass(frozen=True)
class Masks:
    """Masked patches of N crops.

    Attributes:
        mask: (N, patches) bool.
        indices: (n,) int64, positions of the masked patches in the flattened (N * patches) tokens.
        weights: (n,) float32, 1 / (number of masked patches in the same crop).
    """

    mask: Tensor
    indices: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> "Masks":
        """Copy the masks to `device`, without waiting for it."""
        return Masks(*(t.to(device, non_blocking=True) for t in (self.mask, self.indices, self.weights)))


def sample_masks(
    crops: int, grid: tuple[int, int], config: MaskConfig, generator: np.random.Generator
) -> Masks:
    """Draw the masks of global crops: BEiT's blocks with DINOv2's and DINOv3's counts.

    int(crops * share) crops are masked; the i-th of them has exactly int(patches * linspace(ratio, n + 1)[i +
    1]) masked patches, in rectangles of at least 4 patches and aspect ratio 0.3 to 3.3, filled up with single
    patches. The assignment of these masks to the crops is random.

    Args:
        crops: number of global crops.
        grid: rows and columns of patches of each.
        config: amount of masking.
        generator: draws all numbers.
    """
    masked = int(crops * config.share)
    patches = grid[0] * grid[1]
    counts = (np.linspace(*config.ratio, masked + 1)[1:] * patches + 1e-9).astype(int)
    blocks = np.zeros((crops, patches), dtype=bool)
    blocks[:masked] = _complete(_blocks(counts, grid, generator).reshape(masked, patches), counts, generator)
    blocks = blocks[generator.permutation(crops)]
    indices = np.flatnonzero(blocks)
    weights = 1.0 / blocks.sum(axis=1)[indices // patches]
    return Masks(
        torch.from_numpy(blocks), torch.from_numpy(indices), torch.from_numpy(weights.astype(np.float32))
    )


def _blocks(
    counts: npt.NDArray[np.int_], grid: tuple[int, int], generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Draw rectangles until the counts are reached or none fits in ATTEMPTS draws.

    Every round draws ATTEMPTS rectangles for each unfinished crop and takes the first that fits, as the
    published loop does; the number of new patches that each would mask is read from a table of cumulative
    sums.

    Args:
        counts: (n,) patches to mask in each crop, at most.
        grid: rows and columns.
        generator: draws all numbers.

    Returns:
        (n, rows, columns), true for masked patches.
    """
    rows, columns = grid
    mask = np.zeros((len(counts), rows, columns), dtype=bool)
    unfinished = np.flatnonzero(counts > 0)
    remaining = counts.copy()
    while len(unfinished):
        shape = (len(unfinished), ATTEMPTS)
        limit = remaining[unfinished, None]
        area = generator.uniform(MIN_BLOCK, np.maximum(limit, MIN_BLOCK), shape)
        aspect = np.exp(generator.uniform(*LOG_ASPECT, shape))
        height = np.rint(np.sqrt(area * aspect)).astype(int)
        width = np.rint(np.sqrt(area / aspect)).astype(int)
        inside = (height < rows) & (width < columns) & (height > 0) & (width > 0)
        height, width = np.where(inside, height, 1), np.where(inside, width, 1)
        top = generator.integers(0, rows - height, endpoint=True)
        left = generator.integers(0, columns - width, endpoint=True)
        sums = np.zeros((len(unfinished), rows + 1, columns + 1), dtype=np.int32)
        np.cumsum(np.cumsum(mask[unfinished], axis=1, dtype=np.int32), axis=2, out=sums[:, 1:, 1:])
        i = np.arange(len(unfinished))[:, None]
        already = (
            sums[i, top + height, left + width]
            - sums[i, top, left + width]
            - sums[i, top + height, left]
            + sums[i, top, left]
        )
        new = height * width - already
        fits = inside & (new > 0) & (new <= limit)
        first = fits.argmax(axis=1)
        has_fit = fits[i[:, 0], first]
        unfinished, first = unfinished[has_fit], first[has_fit]
        top, left, height, width, new = (a[has_fit, first] for a in (top, left, height, width, new))
        y, x = np.arange(rows)[None, :, None], np.arange(columns)[None, None, :]
        in_rows = (y >= top[:, None, None]) & (y < (top + height)[:, None, None])
        in_columns = (x >= left[:, None, None]) & (x < (left + width)[:, None, None])
        mask[unfinished] |= in_rows & in_columns
        remaining[unfinished] -= new
        unfinished = unfinished[remaining[unfinished] > 0]
    return mask


def _complete(
    mask: npt.NDArray[np.bool_], counts: npt.NDArray[np.int_], generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Add single patches at random until each row of `mask` has exactly its count."""
    order = np.argsort(np.where(mask, -1.0, generator.random(mask.shape)), axis=1)
    complete = np.zeros_like(mask)
    np.put_along_axis(complete, order, np.arange(mask.shape[1])[None, :] < counts[:, None], axis=1)
    return complete
