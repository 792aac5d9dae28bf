"""DINOv3 names to timm's and back: nothing lost, and the same function computed."""

import torch

from braindino.encoders.key_mapping import dinov3_to_timm, is_dinov3, timm_to_dinov3
from braindino.encoders.vit import create_vit
from tests.helpers.tiny_vit import tiny_vit

ARGUMENTS = {"embed_dim": 48, "depth": 2, "num_heads": 2}


def test_round_trip_with_bias() -> None:
    weights = dict(tiny_vit().state_dict())
    weights["blocks.0.attn.q_bias"] = torch.arange(48.0)
    weights["blocks.1.attn.v_bias"] = torch.arange(48.0) - 7
    there = timm_to_dinov3(weights)
    assert is_dinov3(there)
    assert not is_dinov3(weights)
    assert there["blocks.0.attn.qkv.bias"].shape == (144,)
    assert not there["blocks.0.attn.qkv.bias"][48:96].any()
    assert {"storage_tokens", "blocks.1.ls2.gamma"} <= there.keys()
    back = dinov3_to_timm(there)
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[k], weights[k]) for k in weights)


def test_round_trip_of_gated_mlp() -> None:
    weights = dict(create_vit("vit_small_plus_patch16_dinov3", depth=1).state_dict())
    there = timm_to_dinov3(weights)
    assert {"blocks.0.mlp.w1.weight", "blocks.0.mlp.w2.weight", "blocks.0.mlp.w3.weight"} <= there.keys()
    assert dinov3_to_timm(there).keys() == weights.keys()


def test_buffers_and_pretraining_parts_are_left_out() -> None:
    names = ["rope_embed.periods", "mask_token", "blocks.0.attn.qkv.bias_mask", "local_cls_norm.weight"]
    assert dinov3_to_timm({name: torch.zeros(3) for name in names}) == {}
