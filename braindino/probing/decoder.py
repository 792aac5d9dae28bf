"""Decoder of a segmentation probe: fused modalities, and upsampled tokens of four blocks."""

import math

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

from braindino.encoders.base import Encoder
from braindino.identity import stable_id

LEVELS = 4
# Initialisation of decoder and head; part of the identity of a study, whose early versions used torch's.
INITIALISATION = "he"
# Slope of the leaky ReLU that the deviation of the weights is computed for.
SLOPE = 1e-2


@stable_id("PatchDecoder")
class PatchDecoder(nn.Module):
    """Decode patch tokens as BrainDINO's released code does (method.md "Probes", Segmentation).

    A learnt 1 x 1 convolution without bias, initially the average, fuses the modalities to the input channels
    of the encoder. The encoder returns the normed patch tokens after four blocks (2, 5, 8, 11 of 12; at even
    distances in others). Concatenated to 4 D channels they pass a stage of ConvTranspose 2 x 2, LayerNorm and
    GELU per halving of the patch, each with half the channels: 3072-1536-768-384-192 for ViT-B/16, 25.1 M
    parameters. If the patch size is no power of two, the maps are resized to the slice.
    """

    def build(self, embed_dim: int, modalities: int, blocks: int, patch_size: int, in_chans: int) -> int:
        """Initialise the parameters; return the channels of the maps.

        Args:
            embed_dim: features per token of the encoder.
            modalities: scans per case.
            blocks: blocks of the encoder.
            patch_size: side of a patch [pixels].
            in_chans: input channels of the encoder.
        """
        self.blocks = decoded_blocks(blocks)
        self.fuse = None
        if modalities > 1:
            self.fuse = nn.Conv2d(modalities, in_chans, 1, bias=False)
            nn.init.constant_(self.fuse.weight, 1 / modalities)
        stages: list[nn.Module] = []
        width = len(self.blocks) * embed_dim
        for _ in range(math.ceil(math.log2(patch_size))):
            narrower = max(width // 2, 1)
            stages += [nn.ConvTranspose2d(width, narrower, 2, stride=2), LayerNorm2d(narrower), nn.GELU()]
            width = narrower
        self.stages = nn.Sequential(*stages)
        self.stages.apply(initialise)
        return width

    def tokens(self, encoder: Encoder, images: Tensor, present: Tensor) -> Tensor:
        """Return the patch tokens of all levels, (B, levels x D, h, w).

        A missing modality has no weight in the fusion, and the present ones have accordingly more. Gradients
        are computed only if the fusion or the encoder is trained.

        Args:
            encoder: the encoder.
            images: (B, M, H, W).
            present: (B, M), whether a modality is present.
        """
        if self.fuse is not None:
            weights = present.to(images.dtype)
            images = images * (weights / weights.mean(dim=1, keepdim=True))[:, :, None, None]
            return torch.cat(encoder.patch_maps(self.fuse(images), self.blocks), dim=1)
        learning = torch.is_grad_enabled() and any(p.requires_grad for p in encoder.parameters())
        with torch.set_grad_enabled(learning):
            return torch.cat(encoder.patch_maps(images, self.blocks), dim=1)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """Return maps (B, width, H, W) from tokens (B, levels x D, h, w) of slices of `size` (H, W)."""
        maps: Tensor = self.stages(tokens)
        if maps.shape[-2:] == size:
            return maps
        return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


def initialise(module: nn.Module) -> None:
    """Draw the weights of a convolution from He's normal distribution, and set its bias to 0.

    As in BrainDINO's released code the distribution is for leaky ReLU with slope 0.01 (nnU-Net); the default
    of torch has a deviation 2.4 times smaller.

    Args:
        module: any module; other layers are not changed.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def decoded_blocks(blocks: int) -> list[int]:
    """Return the numbers of the four decoded blocks, from 0, at even distances to the last."""
    return sorted({max((k + 1) * blocks // LEVELS - 1, 0) for k in range(LEVELS)})
