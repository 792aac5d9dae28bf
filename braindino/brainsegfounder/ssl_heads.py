"""Heads of BrainSegFounder's pretraining, on the deepest map of the Swin encoder."""

import math

from torch import Tensor, nn

from braindino.brainsegfounder.corruption import TURNS

CONTRASTIVE = 512  # features that the contrast compares (the authors' code)


class SSLHeads(nn.Module):
    """Predict rotation, contrastive features and reconstructed crops from the deepest map.

    Rotation and contrast see the mean of the map; the authors' code gives them its first and second voxel.
    The decoder halves its channels four times and doubles the sides five times, as theirs does, with group
    norm in place of instance norm, which has nothing to normalise in a map of one voxel.

    Args:
        width: channels of the deepest map.
        channels: channels of the crops.
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.rotation = nn.Linear(width, TURNS)
        self.contrast = nn.Linear(width, CONTRASTIVE)
        layers: list[nn.Module] = []
        for stage in range(5):
            out = max(width // 2 ** min(stage + 1, 4), 1)
            layers += [
                nn.Conv3d(width // 2 ** min(stage, 4), out, kernel_size=3, padding=1),
                nn.GroupNorm(math.gcd(out, 8), out),
                nn.LeakyReLU(),
                nn.Upsample(scale_factor=2, mode="trilinear"),
            ]
        self.reconstruction = nn.Sequential(*layers, nn.Conv3d(out, channels, kernel_size=1))

    def forward(self, deepest: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of the turn, contrastive features, and reconstructed crops.

        Args:
            deepest: map (N, width, d, h, w).

        Returns:
            Logits (N, 4), features (N, 512), crops (N, channels, 32 d, 32 h, 32 w).
        """
        mean = deepest.mean(dim=(2, 3, 4))
        return self.rotation(mean), self.contrast(mean), self.reconstruction(deepest)
