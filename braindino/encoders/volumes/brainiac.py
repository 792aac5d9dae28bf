"""BrainIAC: MONAI's ViT-B on volumes of 96^3 (Tak et al., Nature Neuroscience 2026)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from braindino.encoders.volumes.base import (
    VolumeEncoder,
    complete_cross_attention,
    count_modules,
    require_keys,
    weights_under,
)
from braindino.encoders.weight_files import fit_weights
from braindino.identity import stable_id
from braindino.scans.contract import Preprocessing


@dataclass(frozen=True)
class BrainIACShape:
    """Sizes of the ViT; the defaults are the published ones.

    Attributes:
        side: side of the volume, in voxels.
        patch: side of a patch, in voxels.
        width: features of a token.
        mlp: features of the hidden layer.
        layers: number of blocks.
        heads: attention heads.
    """

    side: int = 96
    patch: int = 16
    width: int = 768
    mlp: int = 3072
    layers: int = 12
    heads: int = 12


@stable_id("BrainIACEncoder")
class BrainIACEncoder(VolumeEncoder):
    """Encode a scan as its first token after the last norm, as BrainIAC's downstream code does.

    The network, pretrained by SimCLR, has no CLS token. Contract: the whole field of view resized to 96^3 and
    nonzero voxels z-scored, without clipping, on axes that run to the right, the front and the top; the
    authors register to a template and do not state its axes.

    Args:
        shape: sizes of the ViT.
    """

    published = "BrainIAC.ckpt"

    def __init__(self, shape: BrainIACShape | None = None) -> None:
        shape = shape or BrainIACShape()
        contract = Preprocessing(
            slice_axes=(0, 1, 2), clip=(0, 100), depth=shape.side, size=(shape.side,) * 2, dtype="float16"
        )
        super().__init__(shape, contract, shape.width)

    @staticmethod
    def build(shape: BrainIACShape) -> nn.Module:
        """Return MONAI's ViT of these sizes, with random weights."""
        from monai.networks.nets import ViT

        network: nn.Module = ViT(
            in_channels=1,
            img_size=(shape.side,) * 3,
            patch_size=(shape.patch,) * 3,
            hidden_size=shape.width,
            mlp_dim=shape.mlp,
            num_layers=shape.layers,
            num_heads=shape.heads,
        )
        return network

    @classmethod
    def from_checkpoint(cls, content: Mapping[str, Any] | None, source: str) -> Self:
        """Read `{"state_dict": {"backbone.*"}}`, the layout of BrainIAC.ckpt."""
        if content is None:
            return cls()
        weights = weights_under(content, ("backbone.",), source, "ViT of BrainIAC")
        patches, positions = "patch_embedding.patch_embeddings.weight", "patch_embedding.position_embeddings"
        require_keys(weights, (patches, positions, "blocks.0.mlp.linear1.weight"), source, "BrainIAC's ViT")
        width, _, patch = weights[patches].shape[:3]
        encoder = cls(
            BrainIACShape(
                side=patch * round(weights[positions].shape[1] ** (1 / 3)),
                patch=patch,
                width=width,
                mlp=weights["blocks.0.mlp.linear1.weight"].shape[0],
                layers=count_modules(weights, "blocks."),
                heads=max(width // 64, 1),
            )
        )
        fit_weights(encoder.network, complete_cross_attention(weights, encoder.network), source)
        return encoder

    def forward(self, slices: Tensor, modalities: Sequence[str] = ()) -> Tensor:
        """Return the features (N, width) of scans (N, 1, D, H, W); modalities are ignored."""
        tokens: Tensor = self.network(slices)[0]
        return tokens[:, 0]
