"""Layers of the decoders: convolutions with group normalisation, and residual blocks."""

import math

from torch import Tensor, nn

# Groups of the group normalisation, where the channels divide by it.
GROUPS = 8


def norm(width: int) -> nn.Module:
    """Return group normalisation of `width` channels, in `GROUPS` groups if they divide."""
    return nn.GroupNorm(math.gcd(GROUPS, width), width)


def conv_block(inputs: int, width: int, stride: int = 1) -> nn.Sequential:
    """Return a 3 x 3 convolution, group normalisation and GELU."""
    return nn.Sequential(nn.Conv2d(inputs, width, 3, stride, padding=1), norm(width), nn.GELU())


class Residual(nn.Module):
    """Add two normed 3 x 3 convolutions of maps to the maps themselves (He et al. 2016, pre-activation).

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            norm(width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            norm(width),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, width, h, w) of the same shape."""
        added: Tensor = self.layers(maps)
        return maps + added
