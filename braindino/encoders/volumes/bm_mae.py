"""BM-MAE: the ViT of a multi-modal masked autoencoder (Robinet et al., arXiv 2505.00568)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from braindino.encoders.modalities import BRATS_SEQUENCES, brats_sequence
from braindino.encoders.volumes.base import (
    VolumeEncoder,
    complete_cross_attention,
    count_modules,
    require_keys,
    weights_under,
)
from braindino.encoders.weight_files import fit_weights
from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.scans.contract import Preprocessing


@dataclass(frozen=True)
class BMMAEShape:
    """Sizes of the ViT; the defaults are the published ones.

    Attributes:
        side: side of the volume, in voxels.
        patch: side of a patch, in voxels.
        width: features of a token.
        mlp: features of the hidden layer.
        layers: number of blocks.
        heads: attention heads.
        modalities: sequences that have a patch embedding.
    """

    side: int = 128
    patch: int = 16
    width: int = 768
    mlp: int = 1536
    layers: int = 12
    heads: int = 12
    modalities: tuple[str, ...] = BRATS_SEQUENCES


class _Network(nn.Module):
    """One transformer with a patch embedding per modality; parameters are named as published."""

    def __init__(self, shape: BMMAEShape) -> None:
        super().__init__()
        from monai.networks.blocks import PatchEmbeddingBlock, TransformerBlock

        def tokenizer() -> nn.Module:
            embedding = PatchEmbeddingBlock(
                in_channels=1,
                img_size=(shape.side,) * 3,
                patch_size=(shape.patch,) * 3,
                hidden_size=shape.width,
                num_heads=shape.heads,
                proj_type="conv",
                pos_embed_type="sincos",
            )
            return nn.ModuleDict({"patch_embedding": embedding})

        self.tokenizers = nn.ModuleDict({name: tokenizer() for name in shape.modalities})
        self.cls_token = nn.Parameter(torch.randn(1, 1, shape.width) * 0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(shape.width, shape.mlp, shape.heads, qkv_bias=True) for _ in range(shape.layers)
        )
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, volumes: Tensor, modality: str) -> Tensor:
        """Return the CLS tokens (N, width) of volumes of one modality (N, 1, D, H, W)."""
        tokens = self.tokenizers[modality]["patch_embedding"](volumes)  # type: ignore[index]
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed[:, 0]


@stable_id("BMMAEEncoder")
class BMMAEEncoder(VolumeEncoder):
    """Encode a scan as its CLS token, through the patch embedding of its sequence.

    BM-MAE can also take the sequences of a case together; here each is encoded by itself, which its training
    on random subsets covers, and the probe pools them as it does for every encoder.

    Contract: voxels of 1 mm, the central 128^3, nonzero voxels z-scored without clipping, on BraTS's
    axes (LPS).

    Args:
        shape: sizes of the ViT.
    """

    published = "bmmae.pth"

    def __init__(self, shape: BMMAEShape | None = None) -> None:
        shape = shape or BMMAEShape()
        contract = Preprocessing(
            orientation="LPS",
            slice_axes=(0, 1, 2),
            clip=(0, 100),
            depth=shape.side,
            size=(shape.side,) * 2,
            spacing=1.0,
            centre="scan",
            dtype="float16",
        )
        super().__init__(shape, contract, shape.width)

    @staticmethod
    def build(shape: BMMAEShape) -> nn.Module:
        """Return the encoder of the autoencoder, with random weights."""
        return _Network(shape)

    @classmethod
    def from_checkpoint(cls, content: Mapping[str, Any] | None, source: str) -> Self:
        """Read a bare state dict with `tokenizers.*`, `blocks.*`, `norm.*` and `cls_token`.

        Weights of the decoder (`decoder.*`) are ignored.
        """
        if content is None:
            return cls()
        weights = weights_under(content, ("",), source, "BM-MAE")
        weights = {key: value for key, value in weights.items() if not key.startswith("decoder.")}
        names = tuple(dict.fromkeys(k.split(".")[1] for k in weights if k.startswith("tokenizers.")))
        stem = f"tokenizers.{names[0] if names else 't1'}.patch_embedding."
        patches, positions = f"{stem}patch_embeddings.weight", f"{stem}position_embeddings"
        require_keys(
            weights, (patches, positions, "blocks.0.mlp.linear1.weight", "cls_token"), source, "BM-MAE"
        )
        width, _, patch = weights[patches].shape[:3]
        encoder = cls(
            BMMAEShape(
                side=patch * round(weights[positions].shape[1] ** (1 / 3)),
                patch=patch,
                width=width,
                mlp=weights["blocks.0.mlp.linear1.weight"].shape[0],
                layers=count_modules(weights, "blocks."),
                heads=max(width // 64, 1),
                modalities=names,
            )
        )
        fit_weights(encoder.network, complete_cross_attention(weights, encoder.network), source)
        return encoder

    def forward(self, slices: Tensor, modalities: Sequence[str] = ()) -> Tensor:
        """Return the features (N, width) of scans (N, 1, D, H, W).

        Args:
            slices: whole scans, normalised by the contract.
            modalities: sequence of each scan.

        Raises:
            BraindinoError: a scan whose sequence is not known, or is none that the weights were trained on.
        """
        names = [self._tokenizer(modality) for modality in modalities]
        if len(names) != len(slices):
            raise BraindinoError(f"BM-MAE: {len(slices)} scans with {len(names)} modalities.")
        features = slices.new_empty(len(slices), self.embed_dim)
        for name in sorted(set(names)):
            chosen = torch.tensor([each == name for each in names], device=slices.device)
            features[chosen] = self.network(slices[chosen], name).to(features.dtype)
        return features

    def _tokenizer(self, modality: str) -> str:
        """Return the name of the patch embedding for a modality."""
        name = brats_sequence(modality)
        if name is None or name not in self.shape.modalities:
            raise BraindinoError(
                f"BM-MAE has no patch embedding for the modality {modality!r}; it was trained on "
                f"{', '.join(self.shape.modalities)}.\n"
                "Name the modality so in the manifest, or exclude the scan."
            )
        return name
