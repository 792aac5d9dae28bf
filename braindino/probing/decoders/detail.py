"""A decoder of tokens and pixels: a small U-Net of the slice that the tokens enter half way down."""

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

# Channels of the pixel pyramid; each level halves the sides.
WIDTHS = (24, 32, 64, 96)
# The level that the tokens enter: a quarter of the rows and columns.
ENTRY = 2
TOKEN_WIDTH = 64


@stable_id("DetailDecoder")
class DetailDecoder(Decoder):
    """Decode tokens together with a pyramid of the slice's pixels, as a U-Net does.

    The pyramid has four levels of convolutions (24, 32, 64, 96 channels) on the pixels of all modalities and
    neighbours and their coordinates. Tokens pass a 1 x 1 convolution to 64 channels and a residual block, and
    enter the pyramid at its third level, a quarter of the slice. The way up joins each level of the pyramid.
    The encoder stays frozen, but the pixel pyramid would segment without it: compare with `use_tokens` false.
    """

    name = "detail"
    has_coarse_maps = True
    reads_pixels = True

    def make(self) -> list[int]:
        """Initialise the parameters; return the channels of the maps. See `Decoder.make`."""
        self.stem = nn.Conv2d(self.stack * self.token_channels + 2, TOKEN_WIDTH, 1)
        self.mix = Residual(TOKEN_WIDTH)
        inputs = [self.stack + 2, *WIDTHS[:-1]]
        self.down = nn.ModuleList(
            nn.Sequential(conv_block(before, width, 1 if level == 0 else 2), Residual(width))
            for level, (before, width) in enumerate(zip(inputs, WIDTHS, strict=True))
        )
        self.enter = conv_block(WIDTHS[ENTRY] + TOKEN_WIDTH, WIDTHS[ENTRY])
        self.up = nn.ModuleList(
            nn.Sequential(conv_block(coarse + fine, fine), conv_block(fine, fine))
            for fine, coarse in pairwise(WIDTHS)
        )
        self.apply(initialise)
        return list(WIDTHS)

    def levels(self, tokens: Tensor, images: Tensor, present: Tensor) -> list[Tensor]:
        """Return maps (B, width, H, W) and coarser ones; see `Decoder.levels`."""
        maps = flatten_present(images.unsqueeze(3), present)
        maps = torch.cat([maps, coordinates(maps)], dim=1)
        pyramid = []
        for level, block in enumerate(self.down):
            maps = block(maps)
            if level == ENTRY:
                entering = resize(self._token_maps(tokens, present), maps.shape[-2:])
                maps = self.enter(torch.cat([maps, entering], dim=1))
            pyramid.append(maps)
        results = [pyramid[-1]]
        for level in reversed(range(len(self.up))):
            maps = torch.cat([resize(results[-1], pyramid[level].shape[-2:]), pyramid[level]], dim=1)
            results.append(self.up[level](maps))
        return results[::-1]

    def _token_maps(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return the mixed tokens, (B, `TOKEN_WIDTH`, h, w)."""
        joined = flatten_present(tokens, present)
        mixed: Tensor = self.mix(self.stem(torch.cat([joined, coordinates(joined)], dim=1)))
        return mixed
