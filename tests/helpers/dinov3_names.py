"""Rename weights of timm's DINOv3, to make files as Meta publishes them."""

import re

import torch
from torch import Tensor

_PAIRS = (
    (r"^reg_token$", "storage_tokens"),
    (r"\.gamma_1$", ".ls1.gamma"),
    (r"\.gamma_2$", ".ls2.gamma"),
    (r"\.mlp\.fc1_g\.", ".mlp.w1."),
    (r"\.mlp\.fc1_x\.", ".mlp.w2."),
)


def timm_to_dinov3(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename timm's `vit_*_dinov3` parameters to DINOv3's; the inverse of `dinov3_to_timm`."""
    swiglu = any(".fc1_g." in name for name in weights)
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        if name.endswith("attn.v_bias"):
            continue
        if name.endswith("attn.q_bias"):
            stem = name.removesuffix("q_bias")
            parts = [value, torch.zeros_like(value), weights[f"{stem}v_bias"]]
            renamed[f"{stem}qkv.bias"] = torch.cat(parts)
            continue
        for pattern, replacement in _PAIRS:
            name = re.sub(pattern, replacement, name)
        if swiglu:
            name = re.sub(r"\.mlp\.fc2\.", ".mlp.w3.", name)
        renamed[name] = value
    return renamed
