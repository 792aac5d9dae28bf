"""Test what all decoders share: image sizes, tokens of modalities and neighbours, coordinates."""

import pytest
import torch

from braindino.encoders.base import Encoder
from braindino.errors import BraindinoError
from braindino.probing.data.slices import decoder_shape, neighbour_planes
from braindino.probing.decoders.base import (
    coordinates,
    default_image_size,
    flatten_present,
    image_size_of,
)
from braindino.probing.decoders.conv import ConvDecoder
from tests.helpers.dense import dense_encoder
from tests.helpers.planted import TinyEncoder


def built(modalities: int = 1, neighbours: int = 0, **options: bool) -> ConvDecoder:
    decoder = ConvDecoder((32, 32), neighbours, **options)
    decoder.build(48, modalities, 2, 8, 3, (16, 16))
    return decoder


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of slices in each following call of `Decoder.encode`."""
    counts: list[int] = []
    encode = ConvDecoder.encode

    def counting(self: ConvDecoder, encoder: Encoder, slices: torch.Tensor) -> torch.Tensor:
        counts.append(len(slices))
        return encode(self, encoder, slices)

    monkeypatch.setattr(ConvDecoder, "encode", counting)
    return counts


@pytest.mark.parametrize(
    ("size", "patch_size", "expected"),
    [
        ((256, 256), 16, (448, 448)),
        ((224, 224), 14, (392, 392)),
        ((512, 512), 16, (512, 512)),
        ((48, 32), 8, (192, 128)),  # not more than four times as large
        ((64, 64), 8, (224, 224)),
        ((182, 218), 14, (392, 476)),
    ],
)
def test_default_image_size_gives_28_patches_if_four_times_as_large_suffices(
    size: tuple[int, int], patch_size: int, expected: tuple[int, int]
) -> None:
    assert default_image_size(size, patch_size) == expected
    assert image_size_of(None, size, patch_size) == expected


def test_image_size_of_a_number_is_the_longer_side() -> None:
    assert image_size_of(512, (256, 256), 16) == (512, 512)
    assert image_size_of(96, (48, 32), 8) == (96, 64)
    assert image_size_of(96, (32, 48), 8) == (64, 96)
    assert image_size_of([64, 96], (32, 48), 8) == (64, 96)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            100,
            "image_size 100: expected one number or two .rows, columns., multiples of the patch of 8 pixels",
        ),
        ([64, 100], r"image_size \[64, 100\]: expected one number or two"),
        ([64], "expected one number or two"),
        ([64, 64, 64], "expected one number or two"),
        (0, "expected one number or two"),
        (-8, "expected one number or two"),
        (24, "image_size 24: smaller than the prepared slices of 48 x 32"),
        ([64, 24], "smaller than the prepared slices of 48 x 32; slices are only enlarged"),
    ],
)
def test_image_size_of_refuses_sizes(given: int | list[int], message: str) -> None:
    with pytest.raises(BraindinoError, match=message):
        image_size_of(given, (48, 32), 8)


def test_decoder_tokens_are_those_of_enlarged_slices_rounded_to_float16() -> None:
    encoder, images = dense_encoder((16, 16), depth=2), torch.randn(2, 1, 1, 16, 16)
    tokens = built().tokens(encoder, images, torch.ones(2, 1, dtype=torch.bool))
    enlarged = torch.nn.functional.interpolate(images[:, 0], (32, 32), mode="bilinear")
    expected = torch.cat(encoder.patch_maps(enlarged, [0, 1]), dim=1)
    assert tokens.shape == (2, 1, 1, 96, 4, 4)
    assert torch.equal(tokens[:, 0, 0], expected.half().float())
    assert not tokens.requires_grad


def test_decoder_tokens_encode_each_modality_alone_and_skip_missing_ones(
    encoded: list[int],
) -> None:
    encoder, images = dense_encoder((16, 16), depth=2), torch.randn(2, 1, 3, 16, 16)
    present = torch.tensor([[True, True, True], [True, False, True]])
    decoder = built(3)
    tokens = decoder.tokens(encoder, images, present)
    assert encoded == [5]
    assert not tokens[1, 0, 1].any()
    single = decoder.tokens(encoder, images[1:, :, 2:], present[1:, 2:])
    torch.testing.assert_close(tokens[1, 0, 2], single[0, 0, 0], rtol=1e-2, atol=1e-3)


def test_decoder_tokens_encode_equal_planes_once(encoded: list[int]) -> None:
    encoder, scan = dense_encoder((16, 16), depth=2), torch.randn(4, 1, 16, 16)
    planes = neighbour_planes(torch.arange(4), 1, 4)
    present = torch.ones(4, 1, dtype=torch.bool)
    decoder = built(neighbours=1)
    expected = decoder.tokens(encoder, scan[planes], present)
    encoded.clear()
    tokens = decoder.tokens(encoder, scan[planes], present, planes)
    assert encoded == [4]
    torch.testing.assert_close(tokens, expected, rtol=1e-2, atol=1e-3)
    assert torch.equal(tokens[0, 0], tokens[0, 1])  # the first slice stands for the one before it


def test_decoder_tokens_have_gradients_only_if_the_encoder_is_trained() -> None:
    encoder, images = dense_encoder((16, 16), depth=2), torch.randn(1, 1, 1, 16, 16)
    present = torch.ones(1, 1, dtype=torch.bool)
    assert not built().tokens(encoder, images, present).requires_grad
    encoder.requires_grad_(True)
    assert built().tokens(encoder, images, present).requires_grad
    with torch.no_grad():
        assert not built().tokens(encoder, images, present).requires_grad


def test_decoder_tokens_are_zero_without_use_tokens() -> None:
    encoder, images = dense_encoder((16, 16), depth=2), torch.randn(2, 3, 2, 16, 16)
    present = torch.ones(2, 2, dtype=torch.bool)
    tokens = built(2, 1, use_tokens=False).tokens(encoder, images, present)
    assert tokens.shape == built(2, 1).tokens(encoder, images, present).shape
    assert not tokens.any()


def test_coordinates_run_from_minus_one_to_one() -> None:
    rows, columns = coordinates(torch.zeros(2, 5, 3, 5, dtype=torch.float64))[1]
    assert rows[:, 0].tolist() == [-1, 0, 1]
    assert columns[0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert rows.dtype == torch.float64


def test_flatten_present_gives_present_modalities_more_weight() -> None:
    values = torch.ones(2, 1, 2, 3, 1, 1)
    flat = flatten_present(values, torch.tensor([[True, True], [False, True]]))
    assert flat[:, :, 0, 0].tolist() == [[1] * 6, [0, 0, 0, 2, 2, 2]]


def test_decoder_shape_refuses_an_encoder_without_patch_tokens() -> None:
    encoder: Encoder = TinyEncoder()
    encoder.patch_size = None
    with pytest.raises(BraindinoError, match="TinyEncoder has no patch tokens, which segmentation decodes"):
        decoder_shape(encoder, 1)
