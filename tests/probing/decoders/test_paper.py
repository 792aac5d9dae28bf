"""The decoder: BrainDINO's sizes, fusion that starts as the average, gradients only where they serve."""

import pytest
import torch

from braindino.datasets.masks import region_membership
from braindino.probing import SegmentationHead
from braindino.probing.decoders.base import decoded_blocks
from braindino.probing.decoders.paper import PatchDecoder
from braindino.scans.contract import Preprocessing
from tests.helpers.tiny_vit import tiny_encoder


def built(modalities=1, patch_size=8, blocks=4, in_chans=3):
    decoder = PatchDecoder()
    width = decoder.build(48, modalities, blocks, patch_size, in_chans)
    return decoder, width


def test_patch_decoder_has_the_published_sizes():
    decoder = PatchDecoder()
    with torch.device("meta"):
        width = decoder.build(embed_dim=768, modalities=4, blocks=12, patch_size=16, in_chans=3)
    assert width == 192
    assert decoder.blocks == [2, 5, 8, 11]
    widths = [
        stage.weight.shape[:2] for stage in decoder.stages if isinstance(stage, torch.nn.ConvTranspose2d)
    ]
    assert widths == [(3072, 1536), (1536, 768), (768, 384), (384, 192)]
    assert decoder.fuse.weight.shape == (3, 4, 1, 1)
    assert decoder.fuse.bias is None
    assert round(sum(p.numel() for p in decoder.parameters()) / 1e6, 1) == 25.1  # method.md


def test_patch_decoder_is_initialised_as_in_the_released_code():
    """He's law for slope 0.01: sqrt(2 / 1.0001 / fan in); the default of torch has sqrt(1 / 3 / fan in)."""
    torch.manual_seed(0)
    decoder, _ = built(patch_size=4)
    for stage in decoder.stages:
        if isinstance(stage, torch.nn.ConvTranspose2d):
            fan_in = stage.weight.shape[1] * 4  # as torch counts it for a transposed convolution
            assert stage.weight.std().item() == pytest.approx((2 / 1.0001 / fan_in) ** 0.5, rel=0.02)
            assert not stage.bias.any()
            plain = torch.nn.ConvTranspose2d(*stage.weight.shape[:2], 2, stride=2)
            assert (stage.weight.std() / plain.weight.std()).item() == pytest.approx(6**0.5, rel=0.03)


@pytest.mark.parametrize(
    ("blocks", "levels"),
    [(12, [2, 5, 8, 11]), (24, [5, 11, 17, 23]), (4, [0, 1, 2, 3]), (2, [0, 1]), (1, [0])],
)
def test_decoded_blocks_are_evenly_spaced_and_end_with_the_last(blocks, levels):
    assert decoded_blocks(blocks) == levels


@pytest.mark.parametrize("patch_size", [4, 8, 14, 16])
def test_patch_decoder_maps_have_the_size_of_the_slice(patch_size):
    decoder, width = built(patch_size=patch_size)
    size = (2 * patch_size, 3 * patch_size)
    images, present = torch.zeros(2, 1, 1, *size), torch.ones(2, 1, dtype=torch.bool)
    assert decoder(torch.randn(2, 4 * 48, 2, 3), images, present).shape == (2, width, *size)


def test_patch_decoder_fusion_starts_as_the_average_of_present_modalities(vit_encoder):
    encoder = vit_encoder
    decoder, _ = built(modalities=3)
    images = torch.randn(2, 3, 32, 32)
    present = torch.tensor([[True, True, True], [True, False, True]])
    images[1, 1] = 0
    tokens = decoder.tokens(encoder, images.unsqueeze(1), present)
    averages = torch.stack([images[0].mean(0), images[1, [0, 2]].mean(0)]).unsqueeze(1)
    expected = torch.cat(encoder.patch_maps(averages, [0, 1, 2, 3]), dim=1)
    torch.testing.assert_close(tokens, expected, rtol=1e-4, atol=1e-5)


def test_patch_decoder_computes_gradients_of_a_frozen_encoder_only_for_a_fusion(vit_encoder):
    encoder = vit_encoder
    images, present = torch.randn(1, 2, 32, 32), torch.ones(1, 2, dtype=torch.bool)
    decoder, _ = built(modalities=2)
    decoder.tokens(encoder, images.unsqueeze(1), present).square().sum().backward()
    assert decoder.fuse.weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in encoder.parameters())
    alone, _ = built()
    assert not alone.tokens(encoder, images[:, None, :1], present[:, :1]).requires_grad
    encoder.requires_grad_(True)
    assert alone.tokens(encoder, images[:, None, :1], present[:, :1]).requires_grad


@pytest.mark.parametrize(
    ("modalities", "regions", "loss", "values", "total", "gradients"),
    [
        (
            1,
            {"lesion": (1,)},
            1.3876053094863892,
            [1.3158502578735352, 0.8560088872909546, 0.02913963794708252, -0.4966941475868225],
            1853.0888581462204,
            127.43642036732912,
        ),
        (
            2,
            {"whole": (1, 2), "core": (2,)},
            1.2895088195800781,
            [0.2855364680290222, -0.3009459376335144, 0.38981252908706665, -0.16458183526992798],
            2241.7910822294652,
            79.26854195738159,
        ),
    ],
)
def test_patch_decoder_computes_what_version_0_1_computed(
    modalities: int,
    regions: dict[str, tuple[int, ...]],
    loss: float,
    values: list[float],
    total: float,
    gradients: float,
) -> None:
    """The numbers are those of the only decoder of commit da7462e; equal to the bit on the same machine."""
    encoder = tiny_encoder(Preprocessing(depth=8, size=(32, 24)), depth=4, in_chans=3)
    torch.manual_seed(0)
    decoder, head = PatchDecoder(), SegmentationHead(decoder="paper")
    width = decoder.build(48, modalities, 4, 8, 3, (32, 24))
    head.build(width, torch.from_numpy(region_membership(regions)), tuple(regions))
    random = torch.Generator().manual_seed(1)
    images = torch.randn(2, 1, modalities, 32, 24, generator=random)
    target = torch.randint(0, 3, (2, 32, 24), generator=random, dtype=torch.uint8)
    present = torch.ones(2, modalities, dtype=torch.bool)
    if modalities == 2:
        present[1, 0], images[1, :, 0] = False, 0
    output = head(decoder(decoder.tokens(encoder, images, present), images, present))
    result = head.loss(output, target)
    result.backward()
    parameters = [*decoder.parameters(), *head.parameters()]
    assert result.item() == pytest.approx(loss, rel=1e-5)
    assert output.flatten()[[0, 700, 1500, 3000]].tolist() == pytest.approx(values, rel=1e-4, abs=1e-5)
    assert output.double().abs().sum().item() == pytest.approx(total, rel=1e-5)
    summed = sum(float(value.grad.double().abs().sum()) for value in parameters if value.grad is not None)
    assert summed == pytest.approx(gradients, rel=1e-4)
