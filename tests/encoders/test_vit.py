"""ViTEncoder: shapes, frozen weights, channels, rejected arguments."""

from typing import Any

import pytest
import torch

from braindino.encoders.base import Encoder
from braindino.encoders.vit import ViTEncoder, create_vit
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from tests.helpers.tiny_vit import MODEL_ARGS, NAME, tiny_vit


def test_vit_encoder_shapes_and_patch_maps(encoder: ViTEncoder, slices: torch.Tensor) -> None:
    assert encoder(slices).shape == (3, 48)
    maps = encoder.patch_maps(slices, [0, 1])
    assert [m.shape for m in maps] == [(3, 48, 4, 4)] * 2
    # The last map is the normed patch tokens of the plain forward pass, laid out row by row.
    model: Any = encoder.model
    tokens = model.forward_features(slices)[:, model.num_prefix_tokens :]
    assert torch.equal(maps[1].flatten(2).transpose(1, 2), tokens)


def test_vit_encoder_takes_other_sizes_than_the_contract(encoder: ViTEncoder) -> None:
    assert encoder(torch.zeros(1, 1, 64, 48)).shape == (1, 48)


def test_vit_encoder_is_frozen(encoder: ViTEncoder) -> None:
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())


def test_vit_encoder_repeated_grey_equals_the_summed_kernel(
    contract: Preprocessing, slices: torch.Tensor
) -> None:
    three, one = (tiny_vit(depth=1, in_chans=channels) for channels in (3, 1))
    weights = dict(three.state_dict())
    weights["patch_embed.proj.weight"] = weights["patch_embed.proj.weight"].sum(1, keepdim=True)
    one.load_state_dict(weights)
    a = ViTEncoder(three, contract, "x", {})(slices)
    b = ViTEncoder(one, contract, "x", {})(slices)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_encoder_digest_changes_with_weights_and_contract(
    encoder: ViTEncoder, contract: Preprocessing
) -> None:
    other = ViTEncoder(encoder.model, Preprocessing(depth=9, size=(32, 32)), "x", {})
    assert other.digest != encoder.digest
    again = ViTEncoder(encoder.model, contract, NAME, MODEL_ARGS)
    assert again.digest == encoder.digest
    # The same weights are another function with another number of heads.
    assert ViTEncoder(encoder.model, contract, NAME, MODEL_ARGS | {"num_heads": 4}).digest != again.digest
    with torch.no_grad():
        encoder.model.get_parameter("cls_token").add_(1e-3)
    assert ViTEncoder(encoder.model, contract, NAME, MODEL_ARGS).digest != again.digest


@pytest.mark.parametrize("eps", [1e-6, "1e-6"])
def test_create_vit_sets_the_eps_of_every_norm(eps: float | str) -> None:
    model = create_vit(NAME, depth=1, norm_eps=eps)
    norms = [m.eps for m in model.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert norms == [1e-6] * 3
    with pytest.raises(BraindinoError, match="norm_eps 'small': expected a number"):
        create_vit(NAME, depth=1, norm_eps="small")


def test_vit_encoder_rejects_a_size_that_does_not_divide_into_patches(encoder: ViTEncoder) -> None:
    with pytest.raises(BraindinoError, match="multiple of 8"):
        ViTEncoder(encoder.model, Preprocessing(size=(36, 32)), "x", {})


def test_create_vit_names_the_nearest_architecture() -> None:
    with pytest.raises(BraindinoError, match="vit_base_patch16_dinov3"):
        create_vit("vit_base_patch16_dinov33")


def test_create_vit_explains_an_argument_that_timm_refuses() -> None:
    with pytest.raises(BraindinoError, match="depht"):
        create_vit(NAME, depht=2)


def test_with_mean_patch_has_the_mean_patch_beside_cls(encoder: ViTEncoder, slices: torch.Tensor) -> None:
    both = encoder.with_mean_patch(slices)
    assert both.shape == (3, 96)
    assert torch.equal(both[:, :48], encoder(slices))
    torch.testing.assert_close(both[:, 48:], encoder.patch_maps(slices, [-1])[0].mean(dim=(2, 3)))
    torch.testing.assert_close(both, Encoder.with_mean_patch(encoder, slices))  # what others inherit
