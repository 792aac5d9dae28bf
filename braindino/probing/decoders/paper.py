"""The decoder of BrainDINO's released code: it enlarges the tokens of every patch by itself."""

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn

from braindino.encoders.base import Encoder
from braindino.identity import stable_id
from braindino.probing.decoders.base import Decoder, initialise, resize
from braindino.probing.heads.base import OptimizerDefaults


@stable_id("PatchDecoder")
class PatchDecoder(Decoder):
    """Decode patch tokens as BrainDINO's released code does (method.md "Probes", Segmentation).

    A learnt 1 x 1 convolution without bias, initially the average, fuses the modalities to the input channels
    of the encoder. The encoder returns the normed patch tokens after four blocks (2, 5, 8, 11 of 12; at even
    distances in others). Concatenated to 4 D channels they pass a stage of ConvTranspose 2 x 2, LayerNorm and
    GELU per halving of the patch, each with half the channels: 3072-1536-768-384-192 for ViT-B/16, 25.1 M
    parameters. If the patch size is no power of two, the maps are resized to the slice. No token sees another
    one, and none its place.
    """

    name = "paper"
    reads_coordinates = False
    optimizer_defaults = OptimizerDefaults(lr=3e-4, weight_decay=0.05, betas=(0.9, 0.98), decay=True)
    enlarges = False
    shares_fusion = True

    def make(self) -> list[int]:
        """Initialise the parameters; return the channels of the maps. See `Decoder.make`."""
        self.fuse = None
        if self.modalities > 1:
            self.fuse = nn.Conv2d(self.modalities, self.in_chans, 1, bias=False)
            nn.init.constant_(self.fuse.weight, 1 / self.modalities)
        stages: list[nn.Module] = []
        width = self.token_channels
        for _ in range(self.doublings):
            narrower = max(width // 2, 1)
            stages += [nn.ConvTranspose2d(width, narrower, 2, stride=2), LayerNorm2d(narrower), nn.GELU()]
            width = narrower
        self.stages = nn.Sequential(*stages)
        self.stages.apply(initialise)
        return [width]

    def tokens(
        self, encoder: Encoder, images: Tensor, present: Tensor, planes: Tensor | None = None
    ) -> Tensor:
        """Return the patch tokens of all levels, (B, levels x D, h, w).

        A missing modality has no weight in the fusion, and the present ones have accordingly more. Gradients
        are computed only if the fusion or the encoder is trained.

        Args:
            encoder: the encoder.
            images: (B, 1, M, H, W).
            present: (B, M), whether a modality is present.
            planes: not used: a fused slice is encoded for itself.
        """
        images = images.squeeze(1)
        if self.fuse is not None:
            weights = present.to(images.dtype)
            images = images * (weights / weights.mean(dim=1, keepdim=True))[:, :, None, None]
            return self.encode(encoder, self.fuse(images))
        learning = torch.is_grad_enabled() and any(p.requires_grad for p in encoder.parameters())
        with torch.set_grad_enabled(learning):
            return self.encode(encoder, images)

    def levels(self, tokens: Tensor, images: Tensor, present: Tensor) -> list[Tensor]:
        """Return maps (B, width, H, W) from tokens (B, levels x D, h, w); see `Decoder.levels`."""
        maps: Tensor = self.stages(tokens)
        return [resize(maps, images.shape[-2:])]
