"""Test the U-Net without an encoder: slices of any size, and no tokens."""

import pytest
import torch

from braindino.probing.decoders.unet import UNetDecoder


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (20, 9)])
def test_unet_decoder_maps_have_the_size_of_the_slice(size: tuple[int, int]) -> None:
    decoder = UNetDecoder(neighbours=1)
    width = decoder.build(8, 2, 1, 4, 1)
    images, present = torch.randn(2, 3, 2, *size), torch.ones(2, 2, dtype=torch.bool)
    assert decoder(torch.zeros(0), images, present).shape == (2, width, *size)


def test_unet_decoder_never_runs_the_encoder() -> None:
    decoder = UNetDecoder()
    decoder.build(8, 1, 12, 4, 1)
    assert decoder.blocks == []
    images, present = torch.randn(2, 1, 1, 16, 16), torch.ones(2, 1, dtype=torch.bool)
    tokens = decoder.tokens(None, images, present)  # type: ignore[arg-type]
    assert tokens.shape == (2, 1, 1, 0, 4, 4)
