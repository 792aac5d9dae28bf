"""Test the decoder of tokens and pixels: both reach the masks, in slices of any size."""

import pytest
import torch

from braindino.probing.decoders.detail import DetailDecoder


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (20, 9)])
def test_detail_decoder_levels_halve_the_sides(size: tuple[int, int]) -> None:
    decoder = DetailDecoder()
    decoder.build(8, 2, 1, 4, 1)
    tokens, images = torch.randn(1, 1, 2, 8, 5, 4), torch.randn(1, 1, 2, *size)
    maps = decoder.levels(tokens, images, torch.ones(1, 2, dtype=torch.bool))
    assert [tuple(level.shape[-2:]) for level in maps] == [
        tuple(-(-side // 2**level) for side in size) for level in range(4)
    ]
    assert [level.shape[1] for level in maps] == decoder.level_widths


def test_detail_decoder_depends_on_tokens_and_on_pixels() -> None:
    torch.manual_seed(0)
    decoder = DetailDecoder()
    decoder.build(8, 1, 1, 4, 1)
    tokens, images = torch.randn(1, 1, 1, 8, 8, 8), torch.randn(1, 1, 1, 32, 32)
    present = torch.ones(1, 1, dtype=torch.bool)
    with torch.no_grad():
        maps = decoder(tokens, images, present)
        assert not torch.allclose(maps, decoder(torch.zeros_like(tokens), images, present))
        assert not torch.allclose(maps, decoder(tokens, torch.zeros_like(images), present))
