"""Identify the timm architecture of bare DINOv3 weights, and reject what it cannot hold."""

from typing import Any

import torch
from torch import Tensor

from braindino.encoders.key_mapping import dinov3_to_timm, is_dinov3
from braindino.errors import BraindinoError

# (width, depth) of the published sizes with an MLP, and with SwiGLU -> size in timm's names.
_MLP = {(192, 12): "tiny", (384, 12): "small", (768, 12): "base", (1024, 24): "large"}
_SWIGLU = {(384, 12): "small_plus", (1024, 24): "large", (1280, 32): "huge_plus", (4096, 40): "7b"}
_HEADS = {"tiny": 3, "small": 6, "base": 12, "large": 16, "small_plus": 6, "huge_plus": 20, "7b": 32}
_MLP_RATIO = {"7b": 2}
_REGISTERS = 4
_PATCH = 16
_BASE = 100.0
# Published files have periods rounded to bfloat16 (by up to 2^-9). timm and this project use the exact
# values, by which CLS changes by less than 1e-2 of its deviation.
_ROUNDING = 2.0**-8
OTHER_VIT = "Name the architecture of any other ViT, e.g. --model.encoder vit_base_patch16_224:{}"


def identify_dinov3(weights: dict[str, Tensor], source: str) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Return the timm name, its arguments and the renamed weights of a DINOv3 file.

    Args:
        weights: tensors by DINOv3's names or timm's, without a prefix.
        source: the file, for messages.

    Raises:
        BraindinoError: none of DINOv3's sizes, or weights that timm's DINOv3 has no place for
            (`dinov3_model_args`, `dinov3_to_timm`).
    """
    if "pos_embed" in weights:
        raise BraindinoError(
            f"{source}: has position embeddings, so it is no DINOv3.\n{OTHER_VIT.format(source)}"
        )
    renamed = rename(weights, source)
    width, depth = renamed["cls_token"].shape[-1], depth_from_names(renamed)
    swiglu = any(".mlp.fc1_g." in name for name in renamed)
    size = (_SWIGLU if swiglu else _MLP).get((width, depth))
    if size is None:
        known = [f"{w}x{d}" for w, d in _MLP] + [f"{w}x{d} with SwiGLU" for w, d in _SWIGLU]
        kind = f"width {width} and depth {depth}{' with SwiGLU' if swiglu else ''}"
        raise BraindinoError(
            f"{source}: a ViT of {kind} is none of DINOv3's sizes ({', '.join(known)}).\n"
            f"{OTHER_VIT.format(source)}"
        )
    biased = any(name.endswith("q_bias") for name in renamed)
    if size == "7b" and biased:
        raise BraindinoError(
            f"{source}: a ViT-7B with query and value biases, which timm's has no place for."
        )
    suffix = "_qkvb" if biased or size == "tiny" else ""
    arguments = dinov3_model_args(weights, renamed, source, _HEADS[size])
    if swiglu and size == "large":  # ViT-L+, which timm has no name for
        arguments |= {"swiglu_mlp": True, "swiglu_align_to": 8}
    hidden = renamed["blocks.0.mlp.fc1_g.weight" if swiglu else "blocks.0.mlp.fc1.weight"].shape[0]
    if hidden != _MLP_RATIO.get(size, 4) * width:
        arguments["mlp_ratio"] = hidden / width
    return f"vit_{size}_patch16_dinov3{suffix}", arguments, renamed


def rename(weights: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Return weights by timm's names.

    Args:
        weights: tensors by DINOv3's names or timm's, without a prefix.
        source: the file, for messages.

    Raises:
        BraindinoError: timm's model has no place for a weight.
    """
    if not is_dinov3(weights):
        return weights
    try:
        return dinov3_to_timm(weights)
    except ValueError as error:
        raise BraindinoError(f"{source}: {error}.") from None


def dinov3_model_args(
    weights: dict[str, Tensor], renamed: dict[str, Tensor], source: str, heads: int
) -> dict[str, Any]:
    """Return timm's arguments for differences from the published model in the weights.

    Channels, patch size and registers follow from shapes; the number of heads and the base of the position
    encoding from DINOv3's `rope_embed.periods`, where the file has them.

    Args:
        weights: tensors by the names in the file.
        renamed: the same tensors by timm's names.
        source: the file, for messages.
        heads: attention heads of the published model.

    Raises:
        BraindinoError: periods that are no powers of one base.
    """
    kernel = renamed["patch_embed.proj.weight"]
    arguments: dict[str, Any] = {"in_chans": kernel.shape[1]}
    if kernel.shape[-1] != _PATCH:
        arguments["patch_size"] = kernel.shape[-1]
    registers = renamed["reg_token"].shape[1] if "reg_token" in renamed else 0
    if registers != _REGISTERS:
        arguments["num_reg_tokens"] = registers
    periods = weights.get("rope_embed.periods")
    if periods is None:
        return arguments
    heads_of_file = renamed["cls_token"].shape[-1] // (4 * len(periods))
    if heads_of_file != heads:
        arguments["num_heads"] = heads_of_file
    base = rope_base(periods.double())
    if base is None:
        shown = f"{float(periods[0]):.4g} to {float(periods[-1]):.4g}"
        raise BraindinoError(
            f"{source}: its RoPE periods ({shown}) are no powers of one base (training with min_period and "
            "max_period makes such); timm's DINOv3 has no such option, and different periods would give "
            "different features."
        )
    if base != _BASE:
        arguments["rope_temperature"] = base
    return arguments


def rope_base(periods: Tensor) -> float | None:
    """Return the base b of periods b^(i / n), i from 0 to n - 1, or None if there is none.

    Periods may be rounded to bfloat16. A base that differs from a number of three digits by rounding only is
    that number.

    Args:
        periods: (n,) float64.
    """
    powers = torch.arange(len(periods), dtype=torch.float64) / len(periods)
    if not bool(torch.isfinite(periods).all() and (periods > 0).all()):
        return None
    fitted = float((powers * periods.log()).sum() / powers.square().sum().clamp(min=1e-12))
    for base in (
        _BASE,
        float(f"{torch.tensor(fitted).exp():.3g}"),
        float(torch.tensor(fitted).double().exp()),
    ):
        if base > 0 and bool(((periods / base**powers - 1).abs() <= _ROUNDING).all()):
            return base
    return None


def depth_from_names(weights: dict[str, Tensor]) -> int:
    """Return the number of blocks of weights by timm's names."""
    numbers = [int(name.split(".")[1]) for name in weights if name.startswith("blocks.")]
    return 1 + max(numbers, default=-1)
