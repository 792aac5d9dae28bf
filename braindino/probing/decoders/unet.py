"""A U-Net of the slice without any encoder: the supervised baseline of a segmentation."""

import torch
from torch import Tensor
from torch.nn import functional

from braindino.identity import stable_id
from braindino.probing.decoders.base import Decoder, coordinates, flatten_present

WIDTHS = (32, 64, 96, 128)


@stable_id("UNetDecoder")
class UNetDecoder(Decoder):
    """Segment slices by MONAI's DynUNet (nnU-Net's network), which never sees a token.

    It gets the pixels of all modalities and neighbours, and their coordinates, as `DetailDecoder` does.
    """

    name = "unet"
    enlarges = False
    reads_pixels = True
    reads_tokens = False

    def make(self) -> list[int]:
        """Initialise the parameters; return the channels of the maps. See `Decoder.make`."""
        from monai.networks.nets import DynUNet

        inputs = self.stack + 2
        levels = len(WIDTHS)
        strides = [1] + [2] * (levels - 1)
        self.network = DynUNet(
            2, inputs, WIDTHS[0], [3] * levels, strides, strides[1:], filters=list(WIDTHS), res_block=True
        )
        return [WIDTHS[0]]

    def levels(self, tokens: Tensor, images: Tensor, present: Tensor) -> list[Tensor]:
        """Return maps (B, width, H, W); see `Decoder.levels`."""
        height, width = images.shape[-2:]
        result: Tensor = self.network(padded_pixels(images, present))
        return [result[..., :height, :width]]


def padded_pixels(images: Tensor, present: Tensor) -> Tensor:
    """Return pixels and their coordinates as channels, (B, K x M + 2, H, W), sides multiples of eight.

    Three halvings and doublings return the size only of such maps.

    Args:
        images: (B, K, M, H, W).
        present: (B, M), whether a modality is present.
    """
    maps = flatten_present(images.unsqueeze(3), present)
    maps = torch.cat([maps, coordinates(maps)], dim=1)
    factor = 2 ** (len(WIDTHS) - 1)
    height, width = maps.shape[-2:]
    return functional.pad(maps, (0, -width % factor, 0, -height % factor))
