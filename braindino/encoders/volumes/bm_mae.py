"""BM-MAE: a multi-modal masked autoencoder's ViT on volumes of 128^3 (Robinet et al., arXiv 2505.00568)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from braindino.encoders.modalities import SEQUENCES, sequence_of
from braindino.encoders.volumes.base import VolumeEncoder, count, own_cross_attention, require, weights_of
from braindino.encoders.weight_files import fit_weights
from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.scans.contract import Preprocessing


@dataclass(frozen=True)
class BMMAEShape:
    """Sizes of the ViT; the defaults are the published ones."""

    side: int = 128
    patch: int = 16
    width: int = 768
    mlp: int = 1536
    layers: int = 12
    heads: int = 12
    modalities: tuple[str, ...] = SEQUENCES


class _Network(nn.Module):
    """A patch embedding per modality, one transformer for all, a CLS token; parameters named as published."""

    def __init__(self, shape: BMMAEShape) -> None:
        super().__init__()
        from monai.networks.blocks import PatchEmbeddingBlock, TransformerBlock

        def tokenizer() -> nn.Module:
            embedding = PatchEmbeddingBlock(
                in_channels=1, img_size=(shape.side,) * 3, patch_size=(shape.patch,) * 3,
                hidden_size=shape.width, num_heads=shape.heads, proj_type="conv", pos_embed_type="sincos",
            )  # fmt: skip
            return nn.ModuleDict({"patch_embedding": embedding})

        self.tokenizers = nn.ModuleDict({name: tokenizer() for name in shape.modalities})
        self.cls_token = nn.Parameter(torch.randn(1, 1, shape.width) * 0.02)
        self.blocks = nn.ModuleList(
            TransformerBlock(shape.width, shape.mlp, shape.heads, qkv_bias=True) for _ in range(shape.layers)
        )
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, volumes: Tensor, modality: str) -> Tensor:
        """Volumes of one modality (N, 1, D, H, W) -> CLS token (N, width)."""
        tokens = self.tokenizers[modality]["patch_embedding"](volumes)  # type: ignore[index]
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 0]


@stable_id("BMMAEEncoder")
class BMMAEEncoder(VolumeEncoder):
    """The CLS token of one scan, through the patch embedding of its sequence.

    BM-MAE can also take the sequences of a case together; here each is encoded by itself, which its training
    on random subsets covers, and the probe pools them as it does for every encoder.

    Contract: voxels of 1 mm, the central 128^3, nonzero voxels z-scored without clipping, on BraTS's
    axes (LPS).
    """

    published = "bmmae.pth"

    def __init__(self, shape: BMMAEShape | None = None) -> None:
        shape = shape or BMMAEShape()
        contract = Preprocessing(
            orientation="LPS", slice_axes=(0, 1, 2), clip=(0, 100), depth=shape.side, size=(shape.side,) * 2,
            spacing=1.0, centre="scan", dtype="float16",
        )  # fmt: skip
        super().__init__(shape, contract, shape.width)

    @staticmethod
    def build(shape: BMMAEShape) -> nn.Module:
        """The encoder's half of the autoencoder."""
        return _Network(shape)

    @classmethod
    def of(cls, content: Mapping[str, Any] | None, source: str) -> Self:
        """From a bare state dict with `tokenizers.*`, `blocks.*`, `norm.*`, `cls_token`; no `decoder.*`."""
        if content is None:
            return cls()
        weights = weights_of(content, ("",), source, "BM-MAE")
        weights = {key: value for key, value in weights.items() if not key.startswith("decoder.")}
        names = tuple(dict.fromkeys(k.split(".")[1] for k in weights if k.startswith("tokenizers.")))
        stem = f"tokenizers.{names[0] if names else 't1'}.patch_embedding."
        patches, positions = f"{stem}patch_embeddings.weight", f"{stem}position_embeddings"
        require(weights, (patches, positions, "blocks.0.mlp.linear1.weight", "cls_token"), source, "BM-MAE")
        width, _, patch = weights[patches].shape[:3]
        encoder = cls(
            BMMAEShape(
                side=patch * round(weights[positions].shape[1] ** (1 / 3)),
                patch=patch,
                width=width,
                mlp=weights["blocks.0.mlp.linear1.weight"].shape[0],
                layers=count(weights, "blocks."),
                heads=max(width // 64, 1),
                modalities=names,
            )
        )
        fit_weights(encoder.network, own_cross_attention(weights, encoder.network), source)
        return encoder

    def forward(self, slices: Tensor, modalities: Sequence[str] = ()) -> Tensor:
        """(N, 1, D, H, W) and the sequence of each -> (N, width).

        Raises:
            BraindinoError: a scan whose sequence is not known, or is none that the weights were trained on.
        """
        names = [self._tokenizer(modality) for modality in modalities]
        if len(names) != len(slices):
            raise BraindinoError(f"BM-MAE: {len(slices)} scans with {len(names)} modalities.")
        features = slices.new_empty(len(slices), self.embed_dim)
        for name in sorted(set(names)):
            chosen = torch.tensor([other == name for other in names], device=slices.device)
            features[chosen] = self.network(slices[chosen], name).to(features.dtype)
        return features

    def _tokenizer(self, modality: str) -> str:
        name = sequence_of(modality)
        if name is None or name not in self.shape.modalities:
            raise BraindinoError(
                f"BM-MAE has no patch embedding for the modality {modality!r}; it was trained on "
                f"{', '.join(self.shape.modalities)}.\n"
                "Name the modality so in the manifest, or leave the scan out."
            )
        return name
