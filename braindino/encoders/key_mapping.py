"""Rename parameters of DINOv3's own code to those of timm."""

import re

import torch
from torch import Tensor

# DINOv3 name -> timm name, as regular expressions.
_PAIRS = (
    (r"^storage_tokens$", "reg_token"),
    (r"\.ls1\.gamma$", ".gamma_1"),
    (r"\.ls2\.gamma$", ".gamma_2"),
    (r"\.mlp\.w1\.", ".mlp.fc1_g."),
    (r"\.mlp\.w2\.", ".mlp.fc1_x."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
)
# Fixed buffers and parts that only pretraining uses; timm has no place for them.
_UNUSED = re.compile(r"(^mask_token$|\.periods$|\.bias_mask$|^local_cls_norm\.)")


def is_dinov3(weights: dict[str, Tensor]) -> bool:
    """Return True if the weights have the names of DINOv3's own code."""
    return "storage_tokens" in weights or any(".ls1.gamma" in name for name in weights)


def dinov3_to_timm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename DINOv3's parameters to timm's `vit_*_dinov3`.

    The fused qkv bias (3D,), times `bias_mask` where there is one, becomes `q_bias` and `v_bias`; the key's
    third is masked to zero in the published models and has no parameter in timm. A bias of zeros stays: the
    `_qkvb` architectures have a parameter for it.

    Args:
        weights: tensors by DINOv3's names, without a prefix.

    Raises:
        ValueError: timm's model has no place for a weight: a bias of the keys that is neither masked nor
            zero, a mask that is not finite, or a separate norm for CLS and registers.
    """
    if any(name.startswith("cls_norm.") for name in weights):
        raise ValueError("has a separate norm for CLS and registers, which timm's DINOv3 has no place for")
    renamed: dict[str, Tensor] = {}
    for name, value in weights.items():
        if _UNUSED.search(name):
            continue
        if name.endswith("attn.qkv.bias"):
            query, key, values = _masked(value, weights.get(f"{name}_mask"), name).chunk(3)
            if bool((key != 0).any()):
                raise ValueError(
                    f"{name}: its keys have a bias (up to {float(key.abs().max()):.2g}) that no bias_mask "
                    "switches off; timm's DINOv3 has no place for it, and the features would differ without "
                    "it. Weights trained with mask_k_bias, as the published ones, can be read"
                )
            stem = name.removesuffix("qkv.bias")
            renamed[f"{stem}q_bias"], renamed[f"{stem}v_bias"] = query.clone(), values.clone()
            continue
        for pattern, replacement in _PAIRS:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def _masked(bias: Tensor, mask: Tensor | None, name: str) -> Tensor:
    """Return a fused bias times its mask, if it has one."""
    if mask is None:
        return bias
    if not bool(torch.isfinite(mask).all()):
        raise ValueError(f"{name}_mask is not finite: it was saved before the model was initialised")
    return bias * mask.to(bias.dtype)
