"""UniFormer in 3-D, as far as BrainMVP's weights need it.

Two stages of convolution blocks, then two of attention blocks (Li et al., arXiv 2201.09450), with BrainMVP's
strides of 2 in every direction at every stage.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class UniFormerShape:
    """Sizes of the network; the defaults are UniFormer-S on volumes of 128^3.

    Attributes:
        side: side of the volume, in voxels.
        channels: number of channels of the volume.
        widths: features of each stage.
        depths: blocks of each stage.
        head: features of an attention head.
        ratio: hidden features of an MLP per feature.
    """

    side: int = 128
    channels: int = 1
    widths: tuple[int, int, int, int] = (64, 128, 320, 512)
    depths: tuple[int, int, int, int] = (3, 4, 8, 3)
    head: int = 64
    ratio: int = 4


class _Halve(nn.Module):
    """A strided convolution to the next stage and a norm over its channels."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(channels, width, kernel_size=2, stride=2)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.proj(x).movedim(1, -1))
        return normed.movedim(-1, 1)


class _Mlp(nn.Module):
    """Two layers, over the channels of a map or over tokens."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.fc1, self.fc2 = first, second

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return output


class _ConvBlock(nn.Module):
    """Local relations by a depthwise convolution of 5^3 voxels."""

    def __init__(self, width: int, shape: UniFormerShape) -> None:
        super().__init__()
        self.pos_embed = nn.Conv3d(width, width, 3, padding=1, groups=width)
        self.norm1 = nn.BatchNorm3d(width)
        self.conv1 = nn.Conv3d(width, width, 1)
        self.attn = nn.Conv3d(width, width, 5, padding=2, groups=width)
        self.conv2 = nn.Conv3d(width, width, 1)
        self.norm2 = nn.BatchNorm3d(width)
        hidden = shape.ratio * width
        self.mlp = _Mlp(nn.Conv3d(width, hidden, 1), nn.Conv3d(hidden, width, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pos_embed(x)
        x = x + self.conv2(self.attn(self.conv1(self.norm1(x))))
        output: Tensor = x + self.mlp(self.norm2(x))
        return output


class _Attention(nn.Module):
    """Multi-head self-attention over all voxels of a map."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, tokens, width = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(n, tokens, width))
        return projected


class _AttentionBlock(nn.Module):
    """Global relations by attention."""

    def __init__(self, width: int, shape: UniFormerShape) -> None:
        super().__init__()
        self.pos_embed = nn.Conv3d(width, width, 3, padding=1, groups=width)
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width, max(width // shape.head, 1))
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        hidden = shape.ratio * width
        self.mlp = _Mlp(nn.Linear(width, hidden), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.pos_embed(x)
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.attn(self.norm1(tokens))
        tokens = tokens + self.mlp(self.norm2(tokens))
        output: Tensor = tokens.transpose(1, 2).reshape(x.shape)
        return output


class UniFormer(nn.Module):
    """Compute the normed map of the last stage.

    Args:
        shape: sizes of the network.
    """

    def __init__(self, shape: UniFormerShape) -> None:
        super().__init__()
        before = (shape.channels, *shape.widths[:3])
        for stage, (channels, width, depth) in enumerate(
            zip(before, shape.widths, shape.depths, strict=True), 1
        ):
            block = _ConvBlock if stage <= 2 else _AttentionBlock
            self.add_module(f"patch_embed{stage}", _Halve(channels, width))
            self.add_module(f"blocks{stage}", nn.Sequential(*(block(width, shape) for _ in range(depth))))
        self.norm = nn.BatchNorm3d(shape.widths[3])

    def forward(self, x: Tensor) -> Tensor:
        """Return the map (N, widths[3], D/16, H/16, W/16) of volumes (N, channels, D, H, W)."""
        for stage in range(1, 5):
            x = self.get_submodule(f"blocks{stage}")(self.get_submodule(f"patch_embed{stage}")(x))
        normed: Tensor = self.norm(x)
        return normed
