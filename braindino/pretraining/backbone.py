"""timm's DINOv3 ViT in self-distillation: mask tokens, cached RoPE, stochastic depth that skips work."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from timm.layers.pos_embed_sincos import RotaryEmbeddingDinoV3
from timm.models.eva import Eva, EvaBlock
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from braindino.encoders.vit import create_vit
from braindino.errors import BraindinoError


@dataclass(frozen=True)
class RopeConfig:
    """Changes of the patch coordinates ([-1, 1] along each axis) in training, one draw per forward pass.

    Args:
        shift: largest shift of each axis, in those coordinates; None for none.
        jitter: each axis is scaled by a factor in [1 / jitter, jitter], log-uniform; None for none.
        rescale: both axes are scaled together by such a factor (DINOv3, section 3.2: 2); None for none.
    """

    shift: float | None = None
    jitter: float | None = None
    rescale: float | None = 2.0


def create_backbone(architecture: str, in_chans: int, **model_args: Any) -> Eva:
    """A timm ViT that `Backbone` can drive.

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
            "Use one of timm's vit_*_patch16_dinov3 (any patch size by model_args: {patch_size: 8})."
        )
    return model


class Rope:
    """Tables of sines and cosines for every grid, computed once; and changed tables for training.

    Values equal timm's `RotaryEmbeddingDinoV3.get_embed`, which builds them on the CPU at each call.
    """

    def __init__(self) -> None:
        self._coordinates: dict[tuple[int, int, torch.device], Tensor] = {}
        self._tables: dict[tuple[int, int, torch.device], Tensor] = {}

    def table(self, model: Eva, rows: int, columns: int, device: torch.device) -> Tensor:
        """(rows * columns, 2 * head_dim): sines, then cosines."""
        key = (rows, columns, device)
        if key not in self._tables:
            self._tables[key] = self._from_coordinates(model, self._grid(rows, columns, device))
        return self._tables[key]

    def changed(
        self,
        model: Eva,
        rows: int,
        columns: int,
        device: torch.device,
        config: RopeConfig,
        generator: torch.Generator,
    ) -> Tensor:
        """A table of changed coordinates; the cached one when `config` changes nothing."""
        if config.shift is None and config.jitter is None and config.rescale is None:
            return self.table(model, rows, columns, device)
        uniform = torch.rand(5, generator=generator, device=device) * 2 - 1
        shift, jitter, rescale = (
            config.shift or 0.0,
            math.log(config.jitter or 1.0),
            math.log(config.rescale or 1.0),
        )
        factor = (uniform[2:4] * jitter + uniform[4] * rescale).exp()
        return self._from_coordinates(
            model, (self._grid(rows, columns, device) + uniform[:2] * shift) * factor
        )

    def _grid(self, rows: int, columns: int, device: torch.device) -> Tensor:
        key = (rows, columns, device)
        if key not in self._coordinates:
            axes = [torch.arange(0.5, size, device=device) / size * 2.0 - 1.0 for size in (rows, columns)]
            self._coordinates[key] = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, 1)
        return self._coordinates[key]

    @staticmethod
    def _from_coordinates(model: Eva, coordinates: Tensor) -> Tensor:
        angles = (2 * math.pi * coordinates[:, :, None] / model.rope.periods).flatten(1)
        return torch.cat([angles.sin(), angles.sin(), angles.cos(), angles.cos()], dim=-1)


def forward_tokens(
    model: Eva,
    images: Tensor,
    rope: Tensor,
    mask: Tensor | None = None,
    mask_token: Tensor | None = None,
    drop_path: float = 0.0,
    generator: torch.Generator | None = None,
    recompute: bool = False,
) -> tuple[Tensor, Tensor]:
    """CLS and patch tokens after the final norm.

    Without mask and drop path this equals `model.forward_features` bit for bit.

    Args:
        images: (N, 1, H, W); repeated when the model has 3 channels.
        rope: table of the grid, from `Rope`.
        mask: (N, patches) bool; these patches become `mask_token` (1, D) before the first block.
        drop_path: part of the batch that every residual branch leaves out (equal in all blocks, as in
            DINOv3). The branch is not computed for them, and its output for the others is scaled up to keep
            the mean.
        generator: draws who is left out; needed with `drop_path`.
        recompute: keep only the blocks' inputs and compute the rest again in the backward pass.

    Returns:
        (N, D) and (N, patches, D).
    """
    tokens = model.patch_embed(images.expand(-1, model.in_chans, -1, -1)).flatten(1, -2)
    if mask is not None:
        assert mask_token is not None
        tokens = torch.where(mask[:, :, None], mask_token.to(tokens.dtype), tokens)
    prefix = [model.cls_token.expand(len(tokens), -1, -1)]
    if model.reg_token is not None:
        prefix.append(model.reg_token.expand(len(tokens), -1, -1))
    x = model.norm_pre(torch.cat([*prefix, tokens], dim=1))
    keep = max(1, int(len(x) * (1 - drop_path)))
    for block in model.blocks:
        subsets: tuple[Tensor | None, ...] = (None, None)
        if keep < len(x):
            subsets = tuple(
                torch.randperm(len(x), generator=generator, device=x.device)[:keep] for _ in range(2)
            )  # drawn out here, so that a recomputation takes the same
        if recompute and torch.is_grad_enabled():
            x = checkpoint(_block, block, x, rope, *subsets, use_reentrant=False)
        else:
            x = _block(block, x, rope, *subsets)
    x = model.norm(x)
    return x[:, 0], x[:, model.num_prefix_tokens :]


def _block(block: EvaBlock, x: Tensor, rope: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
    def attend(y: Tensor) -> Tensor:
        return _scaled(block.attn(block.norm1(y), rope=rope), block.gamma_1)

    def think(y: Tensor) -> Tensor:
        return _scaled(block.mlp(block.norm2(y)), block.gamma_2)

    return _residual(_residual(x, attend, first), think, second)


def _scaled(x: Tensor, gamma: nn.Parameter | None) -> Tensor:
    return x if gamma is None else gamma * x


def _residual(x: Tensor, branch: Callable[[Tensor], Tensor], subset: Tensor | None) -> Tensor:
    if subset is None:
        return x + branch(x)
    return torch.index_add(x, 0, subset, branch(x[subset]).to(x.dtype), alpha=len(x) / len(subset))
