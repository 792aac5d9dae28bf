"""Rotary position encoding: tables cached per grid, augmented coordinates, and the rotation."""

import math
from dataclasses import dataclass

import torch
from timm.models.eva import Eva
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class RopeConfig:
    """Changes of the patch coordinates ([-1, 1] along each axis) in training.

    Global and local crops have separate draws.

    Args:
        shift: largest shift of each axis, in those coordinates; None for none.
        jitter: each axis is scaled by a factor in [1 / jitter, jitter], log-uniform; None for none.
        rescale: both axes are scaled together by such a factor (DINOv3, section 3.2: 2); None for none.
        per_block: draw for each block, as DINOv3's code does; False draws once per forward pass, as
            FlexiCT's.
    """

    shift: float | None = None
    jitter: float | None = None
    rescale: float | None = 2.0
    per_block: bool = True

    @property
    def keeps_coordinates(self) -> bool:
        """Return whether nothing is changed."""
        return self.shift is None and self.jitter is None and self.rescale is None


class Rope:
    """Tables of sines and cosines: cached for every grid, and drawn for training.

    Values equal timm's `RotaryEmbeddingDinoV3.get_embed`, which computes them on the CPU at each call.
    """

    def __init__(self) -> None:
        self._coordinates: dict[tuple[int, int, torch.device], Tensor] = {}
        self._tables: dict[tuple[int, int, torch.device], Tensor] = {}

    def table(self, model: Eva, rows: int, columns: int, device: torch.device) -> Tensor:
        """Return the table of a grid: (rows * columns, 2 * head_dim), sines, then cosines."""
        key = (rows, columns, device)
        if key not in self._tables:
            self._tables[key] = self._from_coordinates(model, self._grid(rows, columns, device))
        return self._tables[key]

    def training_tables(
        self,
        model: Eva,
        rows: int,
        columns: int,
        device: torch.device,
        config: RopeConfig,
        generator: torch.Generator,
    ) -> list[Tensor]:
        """Return the table of each block for one forward pass in training."""
        blocks = len(model.blocks)
        if config.per_block and not config.keeps_coordinates:
            return [self.changed(model, rows, columns, device, config, generator) for _ in range(blocks)]
        return [self.changed(model, rows, columns, device, config, generator)] * blocks

    def changed(
        self,
        model: Eva,
        rows: int,
        columns: int,
        device: torch.device,
        config: RopeConfig,
        generator: torch.Generator,
    ) -> Tensor:
        """Return a table of changed coordinates; the cached one when `config` changes nothing."""
        if config.keeps_coordinates:
            return self.table(model, rows, columns, device)
        uniform = torch.rand(5, generator=generator, device=device) * 2 - 1
        shift = config.shift or 0.0
        jitter = math.log(config.jitter or 1.0)
        rescale = math.log(config.rescale or 1.0)
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


def queries_keys_values(qkv: Tensor, sin: Tensor, cos: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split queries, keys and values, and rotate the first two by their positions.

    x is rotated to x * cos + (-x2, x1) * sin, where x1 and x2 are the halves of the last dimension. `qkv` is
    changed in place. The gradient is rotated back while the three are concatenated.

    Args:
        qkv: (N, tokens, 3, heads, head_dim); not to be used afterwards.
        sin: (tokens, 1, 1, head_dim), whose two halves are equal.
        cos: (tokens, 1, 1, head_dim), likewise.

    Returns:
        Three tensors (N, heads, tokens, head_dim).
    """
    # The compiler fuses these operations better than an autograd function.
    if torch.compiler.is_compiling():
        x = qkv[:, :, :2]
        first, second = x.chunk(2, dim=-1)
        turned = x * cos + torch.cat([-second, first], dim=-1) * sin
        return _unbind_qkv(torch.cat([turned.to(qkv.dtype), qkv[:, :, 2:]], dim=2))
    parts: tuple[Tensor, Tensor, Tensor] = _Rotate.apply(qkv, sin, cos)
    return parts


def _unbind_qkv(qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    query, key, value = qkv.transpose(1, 3).unbind(2)
    return query, key, value


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, qkv: Tensor, sin: Tensor, cos: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        ctx.save_for_backward(sin, cos)
        x = qkv[:, :, :2]
        # In half precision every step would be rounded; in float32 this is `x` itself.
        turned = x.to(sin.dtype)
        half = x.shape[-1] // 2
        first, second = turned[..., :half], turned[..., half:]
        of_first, of_second = second * sin[..., :half], first * sin[..., :half]
        turned *= cos
        first -= of_first
        second += of_second
        if turned is not x:
            x.copy_(turned)
        return _unbind_qkv(qkv)

    @staticmethod
    @once_differentiable
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        sin, cos = ctx.saved_tensors  # type: ignore[attr-defined]
        cosine, half = cos[:, 0], cos.shape[-1] // 2
        sine = sin[:, 0, :, :half]
        images, heads, tokens, width = gradients[0].shape
        whole = gradients[0].new_empty(images, tokens, 3, heads, width)
        for part, gradient in zip(whole.unbind(2)[:2], gradients, strict=False):
            x = gradient.transpose(1, 2).to(sin.dtype)
            turned = part if part.dtype == sin.dtype else torch.empty_like(x)
            torch.mul(x, cosine, out=turned)
            turned[..., :half].addcmul_(x[..., half:], sine)
            turned[..., half:].addcmul_(x[..., :half], sine, value=-1)
            if turned is not part:
                part.copy_(turned)
        whole[:, :, 2] = gradients[2].transpose(1, 2)
        return whole, None, None
