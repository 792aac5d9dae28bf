"""The default decoder: tokens mixed by small convolutions, with their place, then enlarged."""

import torch
from torch import Tensor, nn

from braindino.identity import stable_id
from braindino.probing.decoders.base import (
    Decoder,
    coordinates,
    flatten_present,
    initialise,
)
from braindino.probing.decoders.layers import (
    Residual,
    enlarge_by_steps,
    enlarging_stages,
    enlarging_widths,
)

WIDTH, RESIDUALS = 64, 2


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
        widths = enlarging_widths(WIDTH, self.doublings)
        self.stages = enlarging_stages(widths)
        self.apply(initialise)
        return widths[::-1]

    def levels(self, tokens: Tensor, images: Tensor, present: Tensor) -> list[Tensor]:
        """Return maps (B, width, H, W) and coarser ones; see `Decoder.levels`."""
        joined = flatten_present(tokens, present)
        maps = self.body(self.stem(torch.cat([joined, coordinates(joined)], dim=1)))
        return [maps, *enlarge_by_steps(self.stages, maps, images.shape[-2:])][::-1]
