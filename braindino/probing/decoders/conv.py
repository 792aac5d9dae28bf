"""The default decoder: tokens mixed by small convolutions, with their place, then enlarged."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from braindino.identity import stable_id
from braindino.probing.decoders.base import (
    Decoder,
    coordinates,
    flatten_present,
    initialise,
    resize,
)
from braindino.probing.decoders.layers import Residual, conv_block

WIDTH, NARROWEST = 64, 24
RESIDUALS = 2


@stable_id("ConvDecoder")
class ConvDecoder(Decoder):
    """Decode tokens by 1 x 1, two residual blocks, and steps of bilinear enlargement and 3 x 3.

    The normed tokens of four blocks, of all modalities and neighbours, and the coordinates of each token pass
    a 1 x 1 convolution to 64 channels. Two residual blocks of 3 x 3 convolutions let every token see those
    around it. Each following step doubles the side and convolves, until the pixels of the slice are reached.
    """

    name = "conv"
    has_coarse_maps = True

    def make(self) -> list[int]:
        """Initialise the parameters; return the channels of the maps. See `Decoder.make`."""
        self.stem = nn.Conv2d(self.stack * self.token_channels + 2, WIDTH, 1)
        self.body = nn.Sequential(*(Residual(WIDTH) for _ in range(RESIDUALS)))
        widths = [WIDTH]
        for _ in range(self.doublings):
            widths.append(max(widths[-1] * 3 // 4 // 8 * 8, NARROWEST))
        self.stages = nn.ModuleList(conv_block(width, narrower) for width, narrower in pairwise(widths))
        self.apply(initialise)
        return widths[::-1]

    def levels(self, tokens: Tensor, images: Tensor, present: Tensor) -> list[Tensor]:
        """Return maps (B, width, H, W) and coarser ones; see `Decoder.levels`.

        If slices are enlarged, the last steps would be finer than the pixels: they keep the pixels' size.
        """
        joined = flatten_present(tokens, present)
        maps = self.body(self.stem(torch.cat([joined, coordinates(joined)], dim=1)))
        height, width = images.shape[-2:]
        results = [maps]
        for number, stage in enumerate(self.stages):
            rows, columns = (2 * side for side in maps.shape[-2:])
            last = number == len(self.stages) - 1
            size = (height, width) if last else (min(rows, height), min(columns, width))
            maps = stage(resize(maps, size))
            results.append(maps)
        return results[::-1]
