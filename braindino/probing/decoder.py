"""From slices to feature maps of full size: modalities fused, patch tokens of four blocks, upsampling."""

import math

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

from braindino.encoders.base import Encoder
from braindino.identity import stable_id

LEVELS = 4
INITIALISATION = "he"  # of decoder and head; a study that began with torch's own is another one
SLOPE = 1e-2  # of the leaky ReLU that the weights' deviation is meant for


@stable_id("PatchDecoder")
class PatchDecoder(nn.Module):
    """The multi-scale decoder of BrainDINO's released code (method.md "Probes", Segmentation).

    Modalities are fused by a learnt 1 x 1 convolution without bias to the encoder's input channels, which
    starts as their average; the encoder gives the normed patch tokens after four blocks (2, 5, 8, 11 of 12;
    evenly spaced in others); concatenated (4 D channels) they pass a stage of ConvTranspose 2 x 2, LayerNorm
    and GELU per halving of the patch, each with half the channels: 3072-1536-768-384-192 for ViT-B/16, 25.1 M
    parameters. Where the patch is no power of two the maps are resized to the slice.
    """

    def build(self, embed_dim: int, modalities: int, blocks: int, patch_size: int, in_chans: int) -> int:
        """Make the parameters anew for an encoder with these properties; returns the channels of the maps."""
        self.blocks = levels_of(blocks)
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
        """Patch tokens of all levels: images (B, M, H, W), present (B, M) -> (B, levels x D, h, w).

        What is missing has no part in the fusion, and the others weigh accordingly more. Only where there is
        something to learn, in the fusion or in the encoder, are gradients kept.
        """
        if self.fuse is not None:
            there = present.to(images.dtype)
            images = images * (there / there.mean(dim=1, keepdim=True))[:, :, None, None]
            return torch.cat(encoder.patch_maps(self.fuse(images), self.blocks), dim=1)
        learning = torch.is_grad_enabled() and any(p.requires_grad for p in encoder.parameters())
        with torch.set_grad_enabled(learning):
            return torch.cat(encoder.patch_maps(images, self.blocks), dim=1)

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, levels x D, h, w) -> (B, width, H, W) for slices of `size` (H, W)."""
        maps = self.stages(tokens)
        if maps.shape[-2:] == size:
            return maps
        return functional.interpolate(maps, size, mode="bilinear", align_corners=False)


def initialise(module: nn.Module) -> None:
    """Draw the weights of a convolution from He's normal law, as the released code does; its bias is 0.

    The law is that of leaky ReLU with slope 0.01 (nnU-Net's); torch's own has a deviation 2.4 times smaller.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def levels_of(blocks: int) -> list[int]:
    """The blocks, from 0, whose tokens are taken: four, evenly spaced, the last one among them."""
    return sorted({max((k + 1) * blocks // LEVELS - 1, 0) for k in range(LEVELS)})
