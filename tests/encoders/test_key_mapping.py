"""DINOv3 names to timm's: every weight under its timm name, with its value."""

import torch

from braindino.encoders.key_mapping import dinov3_to_timm, is_dinov3
from braindino.encoders.vit import create_vit
from tests.helpers.dinov3_names import timm_to_dinov3
from tests.helpers.tiny_vit import tiny_vit


def test_dinov3_to_timm_renames_a_block() -> None:
    names = {
        "cls_token": "cls_token",
        "storage_tokens": "reg_token",
        "patch_embed.proj.weight": "patch_embed.proj.weight",
        "blocks.0.norm1.weight": "blocks.0.norm1.weight",
        "blocks.0.attn.qkv.weight": "blocks.0.attn.qkv.weight",
        "blocks.0.ls1.gamma": "blocks.0.gamma_1",
        "blocks.11.ls2.gamma": "blocks.11.gamma_2",
        "blocks.0.mlp.w1.weight": "blocks.0.mlp.fc1_g.weight",
        "blocks.0.mlp.w2.bias": "blocks.0.mlp.fc1_x.bias",
        "blocks.0.mlp.w3.weight": "blocks.0.mlp.fc2.weight",
        "norm.bias": "norm.bias",
    }
    weights = {name: torch.full((2,), float(number)) for number, name in enumerate(names)}
    assert is_dinov3(weights)
    renamed = dinov3_to_timm(weights)
    assert {name: float(value[0]) for name, value in renamed.items()} == {
        name: float(number) for number, name in enumerate(names.values())
    }


def test_dinov3_to_timm_splits_the_masked_bias() -> None:
    weights = {
        "blocks.0.attn.qkv.bias": torch.arange(6.0),
        "blocks.0.attn.qkv.bias_mask": torch.tensor([1.0, 1, 0, 0, 1, 1]),
    }
    renamed = dinov3_to_timm(weights)
    assert {name: value.tolist() for name, value in renamed.items()} == {
        "blocks.0.attn.q_bias": [0, 1],
        "blocks.0.attn.v_bias": [4, 5],
    }


def test_dinov3_to_timm_inverts_timm_to_dinov3_with_bias() -> None:
    weights = dict(tiny_vit().state_dict())
    weights["blocks.0.attn.q_bias"] = torch.arange(48.0)
    weights["blocks.1.attn.v_bias"] = torch.arange(48.0) - 7
    published = timm_to_dinov3(weights)
    assert is_dinov3(published)
    assert not is_dinov3(weights)
    assert published["blocks.0.attn.qkv.bias"].shape == (144,)
    assert not published["blocks.0.attn.qkv.bias"][48:96].any()
    assert {"storage_tokens", "blocks.1.ls2.gamma"} <= published.keys()
    back = dinov3_to_timm(published)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[k], weights[k]) for k in weights)


def test_dinov3_to_timm_inverts_timm_to_dinov3_with_gated_mlp() -> None:
    weights = dict(create_vit("vit_small_plus_patch16_dinov3", depth=1).state_dict())
    published = timm_to_dinov3(weights)
    gated = {"blocks.0.mlp.w1.weight", "blocks.0.mlp.w2.weight", "blocks.0.mlp.w3.weight"}
    assert gated <= published.keys()
    assert dinov3_to_timm(published).keys() == weights.keys()


def test_dinov3_to_timm_drops_buffers_and_parts_of_pretraining() -> None:
    names = ["rope_embed.periods", "mask_token", "blocks.0.attn.qkv.bias_mask", "local_cls_norm.weight"]
    assert dinov3_to_timm({name: torch.zeros(3) for name in names}) == {}
