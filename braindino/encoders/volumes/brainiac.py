"""BrainIAC: MONAI's ViT-B on volumes of 96^3, pretrained by SimCLR (Tak et al., Nature Neuroscience 2026)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from braindino.encoders.volumes.base import VolumeEncoder, count, own_cross_attention, require, weights_of
from braindino.encoders.weight_files import fit_weights
from braindino.identity import stable_id
from braindino.scans.contract import Preprocessing


@dataclass(frozen=True)
class BrainIACShape:
    """Sizes of the ViT; the defaults are the published ones."""

    side: int = 96
    patch: int = 16
    width: int = 768
    mlp: int = 3072
    layers: int = 12
    heads: int = 12


@stable_id("BrainIACEncoder")
class BrainIACEncoder(VolumeEncoder):
    """The first token after the final norm, as BrainIAC's downstream code takes it (it has no CLS token).

    Contract: the whole field of view resized to 96^3 and nonzero voxels z-scored, without clipping, on axes
    that run to the right, the front and the top; the authors register to a template and do not say its axes.
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
        """MONAI's ViT of these sizes."""
        from monai.networks.nets import ViT

        return ViT(
            in_channels=1, img_size=(shape.side,) * 3, patch_size=(shape.patch,) * 3, hidden_size=shape.width,
            mlp_dim=shape.mlp, num_layers=shape.layers, num_heads=shape.heads,
        )  # fmt: skip

    @classmethod
    def of(cls, content: Mapping[str, Any] | None, source: str) -> Self:
        """From `{"state_dict": {"backbone.*"}}`, the layout of BrainIAC.ckpt."""
        if content is None:
            return cls()
        weights = weights_of(content, ("backbone.",), source, "ViT of BrainIAC")
        patches, positions = "patch_embedding.patch_embeddings.weight", "patch_embedding.position_embeddings"
        require(weights, (patches, positions, "blocks.0.mlp.linear1.weight"), source, "BrainIAC's ViT")
        width, _, patch = weights[patches].shape[:3]
        encoder = cls(
            BrainIACShape(
                side=patch * round(weights[positions].shape[1] ** (1 / 3)),
                patch=patch,
                width=width,
                mlp=weights["blocks.0.mlp.linear1.weight"].shape[0],
                layers=count(weights, "blocks."),
                heads=max(width // 64, 1),
            )
        )
        fit_weights(encoder.network, own_cross_attention(weights, encoder.network), source)
        return encoder

    def forward(self, slices: Tensor, modalities: Sequence[str] = ()) -> Tensor:
        """(N, 1, D, H, W) -> (N, width)."""
        return self.network(slices)[0][:, 0]
