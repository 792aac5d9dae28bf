"""Layers of the decoders: normed convolutions, residual blocks, and enlargement by steps."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from braindino.probing.decoders.base import resize

# Groups of the group normalisation, where the channels divide by it.
GROUPS = 8
# Fewest channels of enlarged maps.
NARROWEST = 24


def norm(width: int) -> nn.Module:
    """Return group normalisation of `width` channels, in `GROUPS` groups if they divide."""
    return nn.GroupNorm(math.gcd(GROUPS, width), width)


def conv_block(inputs: int, width: int, stride: int = 1) -> nn.Sequential:
    """Return a 3 x 3 convolution, group normalisation and GELU."""
    return nn.Sequential(nn.Conv2d(inputs, width, 3, stride, padding=1), norm(width), nn.GELU())


class Residual(nn.Module):
    """Add two normed 3 x 3 convolutions of maps to the maps themselves (He et al. 2016, pre-activation).

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            norm(width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            norm(width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, width, h, w) of the same shape."""
        added: Tensor = self.layers(maps)
        return maps + added


def enlarging_widths(width: int, doublings: int) -> list[int]:
    """Return the channels before and after each of some doublings: three quarters, in multiples of 8.

    Args:
        width: channels of the coarsest maps.
        doublings: number of steps.
    """
    widths = [width]
    for _ in range(doublings):
        widths.append(max(widths[-1] * 3 // 4 // 8 * 8, NARROWEST))
    return widths


def enlarging_stages(widths: Sequence[int]) -> nn.ModuleList:
    """Return a 3 x 3 convolution for each step of `enlarge_by_steps`."""
    return nn.ModuleList(conv_block(width, narrower) for width, narrower in pairwise(widths))


def enlarge_by_steps(stages: Iterable[nn.Module], maps: Tensor, size: Sequence[int]) -> list[Tensor]:
    """Return maps after each step of doubling their sides and convolving, coarsest first.

    No maps are finer than the pixels of the slice: if slices are enlarged, the last steps keep that size.

    Args:
        stages: a module per step.
        maps: the coarsest maps (B, width, h, w).
        size: rows and columns of the slice, which the last step reaches.
    """
    results, steps = [], list(stages)
    for number, stage in enumerate(steps, start=1):
        last = number == len(steps)
        sides = [min(2 * side, limit) for side, limit in zip(maps.shape[-2:], size, strict=True)]
        maps = stage(resize(maps, size if last else sides))
        results.append(maps)
    return results
