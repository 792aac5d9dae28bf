"""A decoder of tokens and pixels: a small U-Net of the slice that the tokens enter half way down."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from braindino.identity import stable_id
from braindino.probing.decoders.base import (
    Decoder,
    coordinates,
    flatten_present,
    initialise,
    resize,
)
from braindino.probing.decoders.layers import Residual
from braindino.probing.decoders.unet import WIDTHS, padded_pixels

# Instance normalisation with a learnt scale, as nnU-Net has.
NORM = ("INSTANCE", {"affine": True})
# The level that the tokens enter: a quarter of the rows and columns.
ENTRY = 2
TOKEN_WIDTH = 64


@stable_id("DetailDecoder")
class DetailDecoder(Decoder):
    """Decode tokens together with the pixels of the slice, by the U-Net that they are compared with.

    The network is that of `UNetDecoder` (residual blocks of MONAI's DynUNet; 32, 64, 96 and 128 channels) on
    the pixels of all modalities and neighbours and their coordinates. Tokens pass a 1 x 1 convolution to 64
    channels and a residual block, and enter at the third level, a quarter of the slice, by one more block. So
    the U-Net, and the same decoder with `use_tokens` false, show what the tokens contribute.
    """

    name = "detail"
    has_coarse_maps = True
    reads_pixels = True

    def make(self) -> list[int]:
        """Initialise the parameters; return the channels of the maps. See `Decoder.make`."""
        from monai.networks.blocks.dynunet_block import UnetResBlock, UnetUpBlock

        self.stem = nn.Conv2d(self.stack * self.token_channels + 2, TOKEN_WIDTH, 1)
        self.mix = Residual(TOKEN_WIDTH)
        self.stem.apply(initialise)
        self.mix.apply(initialise)
        inputs = [self.stack + 2, *WIDTHS[:-1]]
        self.down = nn.ModuleList(
            UnetResBlock(2, before, width, 3, 1 if level == 0 else 2, NORM)
            for level, (before, width) in enumerate(zip(inputs, WIDTHS, strict=True))
        )
        self.enter = UnetResBlock(2, WIDTHS[ENTRY] + TOKEN_WIDTH, WIDTHS[ENTRY], 3, 1, NORM)
        self.up = nn.ModuleList(
            UnetUpBlock(2, coarse, fine, 3, 2, 2, NORM) for fine, coarse in pairwise(WIDTHS)
        )
        return list(WIDTHS)

    def levels(self, tokens: Tensor, images: Tensor, present: Tensor) -> list[Tensor]:
        """Return maps (B, width, H, W) and coarser ones; see `Decoder.levels`."""
        size = images.shape[-2:]
        maps = padded_pixels(images, present)
        pyramid = []
        for level, block in enumerate(self.down):
            maps = block(maps)
            if level == ENTRY:
                entering = resize(self._token_maps(tokens, present), _halved(size, level))
                missing = [now - side for now, side in zip(maps.shape[-2:], entering.shape[-2:], strict=True)]
                entering = functional.pad(entering, (0, missing[1], 0, missing[0]))
                maps = self.enter(torch.cat([maps, entering], dim=1))
            pyramid.append(maps)
        results = [pyramid[-1]]
        for level in reversed(range(len(self.up))):
            results.append(self.up[level](results[-1], pyramid[level]))
        return [_cropped(maps, _halved(size, level)) for level, maps in enumerate(results[::-1])]

    def _token_maps(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Return the mixed tokens, (B, `TOKEN_WIDTH`, h, w)."""
        joined = flatten_present(tokens, present)
        mixed: Tensor = self.mix(self.stem(torch.cat([joined, coordinates(joined)], dim=1)))
        return mixed


def _halved(size: Sequence[int], times: int) -> tuple[int, int]:
    """Return rows and columns after some halvings, rounded up."""
    rows, columns = (-(-side // 2**times) for side in size)
    return rows, columns


def _cropped(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (B, C, H, W) without the rows and columns beyond a size."""
    return maps[..., : size[0], : size[1]]
