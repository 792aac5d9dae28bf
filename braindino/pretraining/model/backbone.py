"""timm's DINOv3 ViT in self-distillation: mask tokens, drop path, only the needed outputs."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from timm.layers.pos_embed_sincos import RotaryEmbeddingDinoV3
from timm.models.eva import Eva
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from braindino.encoders.vit import create_vit
from braindino.errors import BraindinoError
from braindino.pretraining.model.blocks import Block

Initialisation = Literal["dinov3", "timm"]


def create_backbone(
    architecture: str, in_chans: int, initialisation: Initialisation = "timm", **model_args: Any
) -> Eva:
    """Return a timm ViT whose blocks `forward_tokens` runs.

    timm's own `forward_features` does not work with these blocks.

    Args:
        architecture: a timm `vit_*_dinov3` name.
        in_chans: 1 or 3.
        initialisation: scale of the random weights. "timm" divides those of `attn.proj` and `mlp.fc2` of
            block i (from 0) by sqrt(2 (i + 1)); "dinov3" leaves their deviation at 0.02, as DINOv3's code
            does.
        model_args: see `create_vit`.

    Raises:
        BraindinoError: unknown to timm, or another architecture than DINOv3's.
    """
    model = create_vit(architecture, in_chans=in_chans, **model_args)
    if (
        not isinstance(model, Eva)
        or not isinstance(model.rope, RotaryEmbeddingDinoV3)
        or model.pos_embed is not None
    ):
        raise BraindinoError(
            f"architecture {architecture!r} has no DINOv3 position encoding, which pretraining needs.\n"
            "Use one of timm's vit_*_patch16_dinov3 (any patch size with model_args: {patch_size: 8})."
        )
    if initialisation == "dinov3":
        with torch.no_grad():
            for i, block in enumerate(model.blocks):
                block.attn.proj.weight.mul_(math.sqrt(2 * (i + 1)))
                block.mlp.fc2.weight.mul_(math.sqrt(2 * (i + 1)))
    model.blocks = nn.ModuleList(Block(block) for block in model.blocks)
    return model


def forward_tokens(
    model: Eva,
    images: Tensor,
    rope: Tensor | Sequence[Tensor],
    wanted: Tensor | None = None,
    mask: Tensor | None = None,
    mask_token: Tensor | None = None,
    drop_path: float = 0.0,
    generator: torch.Generator | None = None,
    recompute: bool = False,
) -> tuple[Tensor, Tensor]:
    """Return CLS and patch tokens after the final norm.

    Without mask and drop path they equal those of timm's `forward_features` to float precision.

    Args:
        model: see `create_backbone`.
        images: (N, 1, H, W); repeated when the model has 3 channels.
        rope: table of the grid, from `Rope`; or one for each block.
        wanted: (n,) positions in the flattened (N * patches) whose tokens are wanted. The last block then
            computes its projection and MLP for these and for CLS only. None for all patches.
        mask: (N, patches) bool; these patches become `mask_token` before the first block.
        mask_token: (1, D); needed with `mask`.
        drop_path: share of the batch that every residual branch skips (equal in all blocks, as in DINOv3).
            The branch is not computed for these images, and its output for the rest is scaled up to
            preserve the mean.
        generator: draws which images are skipped; needed with `drop_path`.
        recompute: store only the blocks' inputs and compute the rest again in the backward pass.

    Returns:
        (N, D), and (N, patches, D) or (n, D).
    """
    x = _embed(model, images, mask, mask_token)
    count, length = x.shape[:2]
    patches = length - model.num_prefix_tokens
    tables = [rope] * len(model.blocks) if isinstance(rope, Tensor) else list(rope)
    distinct = {id(table): table for table in tables}
    turns = {key: _with_prefix(table, model.num_prefix_tokens) for key, table in distinct.items()}
    keep = max(1, int(count * (1 - drop_path)))

    def run(block: Block, x: Tensor, table: Tensor, rows: Tensor | None = None) -> Tensor:
        # Subsets are drawn outside of the block, so that a recomputation uses the same.
        subsets: tuple[Tensor | None, ...] = (None, None)
        if keep < count:
            subsets = tuple(
                torch.randperm(count, generator=generator, device=images.device)[:keep] for _ in range(2)
            )
        inputs = (x, *turns[id(table)], *subsets, rows)
        again = recompute and torch.is_grad_enabled()
        output: Tensor = checkpoint(block, *inputs, use_reentrant=False) if again else block(*inputs)
        return output

    for block, table in zip(model.blocks[:-1], tables, strict=False):
        x = run(block, x, table)
    last = model.blocks[-1]
    if wanted is None:
        x = model.norm(run(last, x, tables[-1]))
        return x[:, 0], x[:, model.num_prefix_tokens :]
    cls = torch.arange(count, device=images.device) * length
    of_patches = wanted // patches * length + model.num_prefix_tokens + wanted % patches
    x = model.norm(run(last, x, tables[-1], torch.cat([cls, of_patches])))
    return x[:count], x[count:]


def _embed(model: Eva, images: Tensor, mask: Tensor | None, mask_token: Tensor | None) -> Tensor:
    """Return CLS, registers and patches before the first block: (N, tokens, D)."""
    tokens = model.patch_embed(images.expand(-1, model.in_chans, -1, -1)).flatten(1, -2)
    if mask is not None:
        assert mask_token is not None
        tokens = torch.where(mask[:, :, None], mask_token.to(tokens.dtype), tokens)
    count = len(tokens)
    prefix = [model.cls_token.expand(count, -1, -1)]
    if model.reg_token is not None:
        prefix.append(model.reg_token.expand(count, -1, -1))
    x: Tensor = model.norm_pre(torch.cat([*prefix, tokens], dim=1))
    return x


def _with_prefix(rope: Tensor, prefix: int) -> tuple[Tensor, Tensor]:
    """Return sines and cosines (tokens, 1, 1, head_dim) that do not rotate CLS and registers."""
    sin, cos = F.pad(rope, (0, 0, prefix, 0)).chunk(2, dim=-1)
    cos[:prefix] = 1.0
    return sin[:, None, None], cos[:, None, None]
