"""Rotate crops in one plane and corrupt them by blocks, for BrainSegFounder's pretraining."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindino.errors import BraindinoError

TURNS = 4  # by 0, 90, 180, 270 degrees

BlockSlices = tuple[slice, slice, slice]


@dataclass(frozen=True)
class CorruptionConfig:
    """Set amount and size of the blocks that replace parts of a crop (arXiv 2406.10395).

    Attributes:
        covered: largest part of a crop that blocks cover; the part is drawn uniformly from 0 up.
        smallest: least side of a block, as a part of the crop's side.
        largest: greatest side of a block, as a part of the crop's side.
        swapped: null runs two rounds, as the authors' code does: noise fills the blocks of the first round,
            another crop of the batch those of the second, and each round draws its own part. In a batch of 4
            that covers 23 % of the voxels on average. A number runs one round, so that 16 % are covered; this
            part of the blocks is filled by another crop.

    Raises:
        BraindinoError: a part outside of its range.
    """

    covered: float = 0.3
    smallest: float = 0.05
    largest: float = 0.25
    swapped: float | None = None

    def __post_init__(self) -> None:
        """Raise BraindinoError for a part outside of its range."""
        if not 0 <= self.covered < 1:
            raise BraindinoError(f"model.corruption.covered {self.covered}: expected 0 to below 1.")
        if not 0 < self.smallest <= self.largest <= 1:
            raise BraindinoError(
                f"model.corruption: smallest {self.smallest} and largest {self.largest} are parts of a side: "
                "expected 0 < smallest <= largest <= 1."
            )
        if self.swapped is not None and not 0 <= self.swapped <= 1:
            raise BraindinoError(f"model.corruption.swapped {self.swapped}: expected 0 to 1, or null.")


@dataclass(frozen=True)
class CropGenerators:
    """Random generators of one batch on one process.

    Attributes:
        host: draws turns, flips and blocks.
        noise: draws the voxels of noise, on the accelerator.
    """

    host: np.random.Generator
    noise: torch.Generator

    @classmethod
    def of(cls, seed: int, batch: int, rank: int, device: torch.device) -> "CropGenerators":
        """Return generators that depend on the arguments alone: a resumed run repeats its draws.

        Args:
            seed: seed of the run.
            batch: number of the batch in the run.
            rank: rank of the process.
            device: device that noise is drawn on.
        """
        host = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, batch, rank])))
        noise = torch.Generator(device).manual_seed(int(host.integers(2**62)))
        return cls(host, noise)


def turn(crops: Tensor, randomness: CropGenerators) -> tuple[Tensor, Tensor]:
    """Turn each crop by a random multiple of 90 degrees in the plane of its last two axes.

    Args:
        crops: (B, M, D, H, H).
        randomness: generators of the batch.

    Returns:
        The turned crops, and their numbers of quarter turns (B,) int64: the labels of the rotation task.
    """
    quarters = torch.from_numpy(randomness.host.integers(0, TURNS, len(crops)))
    turned = [crop.rot90(int(k), (-2, -1)) for crop, k in zip(crops, quarters, strict=True)]
    return torch.stack(turned), quarters.to(crops.device)


def corrupt(crops: Tensor, config: CorruptionConfig, randomness: CropGenerators) -> Tensor:
    """Replace blocks in copies of crops until the drawn part of each crop is covered.

    A block takes all channels; noise is standard normal, as z-scored voxels are.

    Args:
        crops: (B, M, D, H, W).
        config: amount and size of the blocks.
        randomness: generators of the batch.

    Returns:
        The corrupted crops (B, M, D, H, W).
    """
    if config.swapped is None:
        return _corrupt_in_two_rounds(crops, config, randomness)
    return _corrupt_in_one_round(crops, config, config.swapped, randomness)


def _corrupt_in_two_rounds(crops: Tensor, config: CorruptionConfig, randomness: CropGenerators) -> Tensor:
    """Fill blocks with noise, then blocks with another crop, as the authors' code does.

    Overlapping blocks count twice, and the end of the crop cuts blocks off. A crop that is drawn to fill
    itself has no second round. The authors scale the noise to 0-1, as their voxels are, and fill from crops
    that may be corrupted already.
    """
    host = randomness.host
    corrupted = crops.clone()
    for b in range(len(crops)):
        source = int(host.integers(len(crops)))
        for block in _overlapping_blocks(crops.shape[2:], config, host):
            corrupted[b][(slice(None), *block)].normal_(generator=randomness.noise)
        if source == b:
            continue
        for block in _overlapping_blocks(crops.shape[2:], config, host):
            corrupted[b][(slice(None), *block)] = crops[source][(slice(None), *block)]
    return corrupted


def _overlapping_blocks(
    shape: tuple[int, ...], config: CorruptionConfig, host: np.random.Generator
) -> Iterator[BlockSlices]:
    """Yield the random blocks of one round on a crop of `shape` (D, H, W)."""
    sides = np.array(shape)
    shortest = np.maximum((config.smallest * sides).astype(int), 1)
    longest = np.maximum((config.largest * sides).astype(int), shortest + 1)  # excluded
    rest = host.uniform(0, config.covered) * sides.prod()
    while rest > 0:
        corner = host.integers(0, np.maximum(sides - shortest, 1))
        end = np.minimum(corner + host.integers(shortest, longest), sides)
        yield _block(corner, end)
        rest -= (end - corner).prod()


def _corrupt_in_one_round(
    crops: Tensor, config: CorruptionConfig, swapped: float, randomness: CropGenerators
) -> Tensor:
    """Cover exactly the drawn part; `swapped` of the blocks are filled by another crop."""
    host = randomness.host
    corrupted = crops.clone()
    sides = np.array(crops.shape[2:])
    for b, target in enumerate(host.uniform(0, config.covered, len(crops)) * sides.prod()):
        covered = np.zeros(sides, dtype=bool)
        while covered.sum() < target:
            drawn = np.rint(host.uniform(config.smallest, config.largest, 3) * sides)
            size = np.maximum(drawn, 1).astype(int)
            corner = host.integers(0, sides - size, endpoint=True)
            block = _block(corner, corner + size)
            covered[block] = True
            inside = corrupted[b][(slice(None), *block)]  # a view
            if len(crops) > 1 and host.random() < swapped:
                source = (b + int(host.integers(1, len(crops)))) % len(crops)
                inside.copy_(crops[source][(slice(None), *block)])
            else:
                inside.normal_(generator=randomness.noise)
    return corrupted


def _block(corner: np.ndarray, end: np.ndarray) -> BlockSlices:
    first, second, third = (slice(int(a), int(b)) for a, b in zip(corner, end, strict=True))
    return first, second, third
