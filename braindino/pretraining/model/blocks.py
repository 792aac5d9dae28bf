"""timm's transformer block for a part of the batch or, in the last block, of the tokens."""

from collections.abc import Callable

import torch
from timm.models.eva import EvaAttention, EvaBlock
from torch import Tensor, nn
from torch.nn import functional as F

from braindino.pretraining.model.linear import linear
from braindino.pretraining.model.rope import queries_keys_values


class Block(nn.Module):
    """Replacement of an `EvaBlock` with its parameters, of the same names and order.

    It is a separate module so that sharding and compilation recognise the borders of the blocks.

    Args:
        block: timm's block, whose parameters are used.
    """

    def __init__(self, block: EvaBlock) -> None:
        super().__init__()
        self.gamma_1, self.gamma_2 = block.gamma_1, block.gamma_2
        self.norm1, self.attn, self.norm2, self.mlp = block.norm1, block.attn, block.norm2, block.mlp

    def forward(
        self,
        x: Tensor,
        sin: Tensor,
        cos: Tensor,
        first: Tensor | None = None,
        second: Tensor | None = None,
        rows: Tensor | None = None,
    ) -> Tensor:
        """Return the tokens after attention and MLP: all of them, or those at `rows` only.

        Args:
            x: (N, tokens, D).
            sin: (tokens, 1, 1, head_dim), which leaves CLS and registers unchanged.
            cos: (tokens, 1, 1, head_dim), likewise.
            first: images that attention is computed for, scaled up to preserve the mean (stochastic depth);
                None for all.
            second: images that the MLP is computed for, likewise.
            rows: positions in the flattened (N * tokens) that are wanted; projection and MLP are computed for
                them only. None for all.

        Returns:
            (N, tokens, D) or (rows, D).
        """
        if rows is not None:
            return self._wanted(x, sin, cos, first, second, rows)

        def attend(y: Tensor) -> Tensor:
            return _scaled(self.attn.proj, self.gamma_1, _attention(self.attn, self.norm1(y), sin, cos))

        return _residual(_residual(x, attend, first), self._mlp_branch, second)

    def _mlp_branch(self, x: Tensor) -> Tensor:
        inner = linear(self.norm2(x), self.mlp.fc1.weight, self.mlp.fc1.bias)
        return _scaled(self.mlp.fc2, self.gamma_2, self.mlp.act(inner))

    def _wanted(
        self, x: Tensor, sin: Tensor, cos: Tensor, first: Tensor | None, second: Tensor | None, rows: Tensor
    ) -> Tensor:
        """Return the tokens at `rows`.

        These are so few that stochastic depth is a factor here, 0 for the skipped images.
        """
        factors = [_factor(subset, x)[rows // x.shape[1]] for subset in (first, second) if subset is not None]
        attended = _attention(self.attn, self.norm1(x), sin, cos).flatten(0, 1)[rows]
        y = x.flatten(0, 1)[rows]
        branch = _scaled(self.attn.proj, self.gamma_1, attended)
        y = y + (branch * factors[0] if factors else branch)
        branch = self._mlp_branch(y)
        return y + (branch * factors[1] if factors else branch)


def _attention(attention: EvaAttention, x: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    """Return timm's attention up to its projection."""
    bias = None
    if attention.q_bias is not None:
        bias = torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
    qkv = linear(x, attention.qkv.weight, bias)
    qkv = torch.unflatten(qkv, -1, (3, attention.num_heads, -1))
    query, key, value = queries_keys_values(qkv, sin, cos)
    mixed = F.scaled_dot_product_attention(query, key, value)
    return mixed.transpose(1, 2).flatten(2)


def _factor(subset: Tensor, x: Tensor) -> Tensor:
    return x.new_zeros(len(x), 1).index_fill_(0, subset, len(x) / len(subset))


def _scaled(layer: nn.Linear, gamma: nn.Parameter | None, x: Tensor) -> Tensor:
    """Apply a linear layer and LayerScale, by scaling the weights: fewer numbers than a batch."""
    if gamma is None:
        return linear(x, layer.weight, layer.bias)
    return linear(x, gamma[:, None] * layer.weight, gamma * layer.bias)


def _residual(x: Tensor, branch: Callable[[Tensor], Tensor], subset: Tensor | None) -> Tensor:
    if subset is None:
        return x + branch(x)
    return torch.index_add(x, 0, subset, branch(x[subset]).to(x.dtype), alpha=len(x) / len(subset))
