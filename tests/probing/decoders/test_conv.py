"""Test the decoder by convolutions: how far a token reaches, its coarser maps, and its sizes."""

import pytest
import torch
from torch import Tensor, nn

from braindino.probing.decoders.base import Decoder
from braindino.probing.decoders.conv import ConvDecoder
from braindino.probing.decoders.linear import LinearDecoder
from braindino.probing.decoders.paper import PatchDecoder

PATCH, ROWS, COLUMNS = 4, 20, 24


def without_normalisation(module: nn.Module) -> None:
    """Replace group normalisation, by which every token changes mean and deviation of the slice."""
    for name, child in module.named_children():
        if isinstance(child, nn.GroupNorm):
            setattr(module, name, nn.Identity())
        else:
            without_normalisation(child)


def changed_patches(decoder: Decoder) -> Tensor:
    """Return rows and columns of the patches that change with the token at (10, 10), relative to it."""
    torch.manual_seed(0)
    decoder.outputs = 2
    decoder.build(8, 1, 1, PATCH, 1, (PATCH * ROWS, PATCH * COLUMNS))
    without_normalisation(decoder)
    decoder.double().eval()
    shape = (8, ROWS, COLUMNS) if isinstance(decoder, PatchDecoder) else (1, 1, 8, ROWS, COLUMNS)
    tokens = torch.randn(1, *shape, dtype=torch.float64)
    changed = tokens.clone()
    changed[..., 10, 10] += 1
    images = torch.zeros(1, 1, 1, PATCH * ROWS, PATCH * COLUMNS, dtype=torch.float64)
    present = torch.ones(1, 1, dtype=torch.bool)
    with torch.no_grad():
        difference = decoder(tokens, images, present) - decoder(changed, images, present)
    return (difference.abs().amax(dim=(0, 1)) > 1e-12).nonzero().div(PATCH, rounding_mode="floor") - 10


@pytest.mark.parametrize(("decoder", "reach"), [(ConvDecoder, 6), (LinearDecoder, 1), (PatchDecoder, 0)])
def test_decoder_token_reaches_as_many_patches_as_documented(decoder: type[Decoder], reach: int) -> None:
    assert int(changed_patches(decoder()).abs().max()) == reach


def test_conv_decoder_levels_double_until_the_pixels_are_reached() -> None:
    decoder = ConvDecoder((64, 96))
    decoder.build(8, 1, 1, 16, 1, (32, 48))
    tokens, images = torch.randn(1, 1, 1, 8, 4, 6), torch.randn(1, 1, 1, 32, 48)
    maps = decoder.levels(tokens, images, torch.ones(1, 1, dtype=torch.bool))
    assert [tuple(level.shape[-2:]) for level in maps] == [(32, 48), (16, 24), (8, 12), (4, 6)]
    assert [level.shape[1] for level in maps] == decoder.level_widths


def test_conv_decoder_depends_on_the_place_of_a_token() -> None:
    decoder = ConvDecoder()
    decoder.build(8, 1, 1, 4, 1)
    with torch.no_grad():
        maps = decoder(torch.zeros(1, 1, 1, 8, 6, 6), torch.zeros(1, 1, 1, 24, 24), torch.ones(1, 1).bool())
    assert not torch.allclose(maps[..., 8, 8], maps[..., 16, 8])
    assert not torch.allclose(maps[..., 8, 8], maps[..., 8, 16])
