"""What BrainSegFounder's pretraining does to a crop: turn it in one plane, then cut blocks out of it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from braindino.errors import BraindinoError

TURNS = 4  # by 0, 90, 180, 270 degrees


@dataclass(frozen=True)
class CorruptionConfig:
    """How much is cut out (arXiv 2406.10395 and its code).

    Args:
        covered: at most this part of a crop; how much is drawn uniformly from 0 up.
        smallest, largest: sides of a block, as parts of the crop's side.
        swapped: None cuts twice, as the authors' code does: noise fills the blocks of the first round,
            another crop of the batch those of the second, and each round draws its own part. In a batch of 4
            that covers 23 % of the voxels on average. A number cuts once, so that 16 % are covered; this part
            of the blocks is filled by another crop.
    """

    covered: float = 0.3
    smallest: float = 0.05
    largest: float = 0.25
    swapped: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
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
    """Generators of one batch on one process: `host` decides, `noise` fills on the accelerator."""

    host: np.random.Generator
    noise: torch.Generator

    @classmethod
    def of(cls, seed: int, batch: int, rank: int, device: torch.device) -> "CropGenerators":
        """A function of its arguments alone, so that a resumed run repeats what it would have done."""
        host = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, batch, rank])))
        noise = torch.Generator(device).manual_seed(int(host.integers(2**62)))
        return cls(host, noise)


def turn(crops: Tensor, randomness: CropGenerators) -> tuple[Tensor, Tensor]:
    """Turn each crop by a random multiple of 90 degrees in the plane of its last two axes.

    Args:
        crops: (B, M, D, H, H).

    Returns:
        The turned crops, and by how many quarters (B,) int64: the labels of the rotation task.
    """
    quarters = torch.from_numpy(randomness.host.integers(0, TURNS, len(crops)))
    turned = [crop.rot90(int(k), (-2, -1)) for crop, k in zip(crops, quarters, strict=True)]
    return torch.stack(turned), quarters.to(crops.device)


def corrupt(crops: Tensor, config: CorruptionConfig, randomness: CropGenerators) -> Tensor:
    """Cut blocks out of copies of crops (B, M, D, H, W) until the drawn part of each is covered.

    A block takes all channels; noise is standard normal, as z-scored voxels are.
    """
    if config.swapped is None:
        return _cut_twice(crops, config, randomness)
    return _cut_once(crops, config, config.swapped, randomness)


def _cut_twice(crops: Tensor, config: CorruptionConfig, randomness: CropGenerators) -> Tensor:
    """Cut as the authors' code does, where overlapping blocks count twice and the crop's end cuts blocks off.

    The second round is left out for a crop that is drawn to fill itself. The authors scale the noise to 0-1,
    as their voxels are, and fill from crops that may have been cut already.
    """
    host, sides = randomness.host, np.array(crops.shape[2:])
    shortest = np.maximum((config.smallest * sides).astype(int), 1)
    longest = np.maximum((config.largest * sides).astype(int), shortest + 1)  # excluded
    corrupted = crops.clone()
    for b in range(len(crops)):
        other = int(host.integers(len(crops)))
        for source in [None] if other == b else [None, crops[other]]:
            rest = host.uniform(0, config.covered) * sides.prod()
            while rest > 0:
                corner = host.integers(0, np.maximum(sides - shortest, 1))
                end = np.minimum(corner + host.integers(shortest, longest), sides)
                where = tuple(slice(int(at), int(to)) for at, to in zip(corner, end, strict=True))
                inside = corrupted[b, :, where[0], where[1], where[2]]  # a view
                if source is None:
                    inside.normal_(generator=randomness.noise)
                else:
                    inside.copy_(source[:, where[0], where[1], where[2]])
                rest -= (end - corner).prod()
    return corrupted


def _cut_once(crops: Tensor, config: CorruptionConfig, swapped: float, randomness: CropGenerators) -> Tensor:
    """Cut until the drawn part is covered exactly once; `swapped` of the blocks come from another crop."""
    host = randomness.host
    corrupted = crops.clone()
    sides = np.array(crops.shape[2:])
    for b, target in enumerate(host.uniform(0, config.covered, len(crops)) * sides.prod()):
        hidden = np.zeros(sides, dtype=bool)
        while hidden.sum() < target:
            block = np.maximum(np.rint(host.uniform(config.smallest, config.largest, 3) * sides), 1).astype(
                int
            )
            corner = host.integers(0, sides - block, endpoint=True)
            where = tuple(slice(int(at), int(at + n)) for at, n in zip(corner, block, strict=True))
            hidden[where] = True
            inside = corrupted[b, :, where[0], where[1], where[2]]  # a view
            if len(crops) > 1 and host.random() < swapped:
                other = (b + int(host.integers(1, len(crops)))) % len(crops)
                inside.copy_(crops[other, :, where[0], where[1], where[2]])
            else:
                inside.normal_(generator=randomness.noise)
    return corrupted
