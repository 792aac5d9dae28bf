"""Projection heads of DINO and iBOT: an MLP onto the sphere, and a layer of prototypes."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from braindino.pretraining import limits
from braindino.pretraining.model.linear import Linear


@dataclass(frozen=True)
class HeadConfig:
    """Size of a projection head.

    Defaults: method.md "Pretraining" (DINOv3's for ViT-L and smaller).

    Args:
        prototypes: number K of prototypes. A few thousand serve 10^4 slices; 65,536 are made for millions.
        hidden: width of the MLP's inner layers.
        bottleneck: dimension of the sphere on which tokens are compared with prototypes.
        layers: linear layers of the MLP.
        prototype_norm: expected length of a prototype at the start. DINOv3 draws entries with std 0.02, which
            is length 0.32 in 256 dimensions.

    Raises:
        BraindinoError: a number that is not above 0.
    """

    prototypes: int = 65_536
    hidden: int = 2048
    bottleneck: int = 256
    layers: int = 3
    prototype_norm: float = 0.32

    def __post_init__(self) -> None:
        """Refuse values that are not above 0."""
        limits.positive(self, "head", "prototypes", "hidden", "bottleneck", "layers", "prototype_norm")


class DINOHead(nn.Module):
    """Head of DINO and iBOT: MLP with GELU, unit length, similarity to each prototype.

    As DINOv3's `DINOHead`: without weight norm.

    Args:
        in_features: width of the tokens.
        config: sizes.
    """

    def __init__(self, in_features: int, config: HeadConfig) -> None:
        super().__init__()
        widths = [in_features, *[config.hidden] * (config.layers - 1), config.bottleneck]
        layers: list[nn.Module] = []
        for i, (narrow, wide) in enumerate(pairwise(widths)):
            layers += [nn.GELU()] if i else []
            layers += [Linear(narrow, wide)]
        self.mlp = nn.Sequential(*layers)
        self.prototypes = nn.Linear(config.bottleneck, config.prototypes, bias=False)
        for module in self.mlp:
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.prototypes.weight, std=config.prototype_norm / config.bottleneck**0.5)

    def project(self, tokens: Tensor) -> Tensor:
        """Map tokens to unit vectors: (..., in_features) -> (..., bottleneck)."""
        projected: Tensor = self.mlp(tokens)
        # 1e-6 and not the default 1e-12, which vanishes in half precision
        return F.normalize(projected, dim=-1, eps=1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens to logits: (..., in_features) -> (..., prototypes)."""
        logits: Tensor = self.prototypes(self.project(tokens))
        return logits
