"""A decoder by queries: one query per region attends over the tokens of the slice (EoMT)."""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from braindino.identity import stable_id
from braindino.probing.decoders.base import (
    Decoder,
    coordinates,
    flatten_present,
    initialise,
)
from braindino.probing.decoders.layers import enlarge_by_steps, enlarging_stages, enlarging_widths

WIDTH, HEADS, BLOCKS, MLP_RATIO = 64, 4, 2, 2.0


@stable_id("AttentionDecoder")
class AttentionDecoder(Decoder):
    """Decode tokens by a query per region that attends over all tokens of the slice.

    The tokens, with their coordinates, are projected to 64 channels. A learnt query per output (region, and
    background of exclusive regions) and the tokens pass two transformer blocks together, so that every token
    sees the whole slice. The logit of a pixel is the product of the query, after an MLP of three layers, with
    the enlarged token (EoMT, Kerssies et al. 2025, "Your ViT is Secretly an Image Segmentation Model",
    section 3.2), plus a bias. Unlike EoMT's, the queries are bound to regions, so that no matching is needed,
    attention is not masked, and the encoder's own blocks stay frozen: the blocks here come after it.
    """

    name = "attention"
    returns_logits = True

    def make(self) -> list[int]:
        """Initialise the parameters; return the number of outputs. See `Decoder.make`."""
        self.stem = nn.Conv2d(self.stack * self.token_channels + 2, WIDTH, 1)
        self.queries = nn.Parameter(torch.randn(self.outputs, WIDTH) * WIDTH**-0.5)
        self.mix = nn.Sequential(
            *(Block(WIDTH, HEADS, MLP_RATIO, qkv_bias=True) for _ in range(BLOCKS)), nn.LayerNorm(WIDTH)
        )
        widths = enlarging_widths(WIDTH, self.doublings)
        self.stages = enlarging_stages(widths)
        self.project = nn.Sequential(
            nn.Linear(WIDTH, WIDTH),
            nn.GELU(),
            nn.Linear(WIDTH, WIDTH),
            nn.GELU(),
            nn.Linear(WIDTH, widths[-1]),
        )
        self.bias = nn.Parameter(torch.zeros(self.outputs, 1, 1))
        self.apply(initialise)
        return [self.outputs]

    def levels(self, tokens: Tensor, images: Tensor, present: Tensor) -> list[Tensor]:
        """Return logits (B, outputs, H, W); see `Decoder.levels`."""
        joined = flatten_present(tokens, present)
        maps = self.stem(torch.cat([joined, coordinates(joined)], dim=1))
        rows, columns = maps.shape[-2:]
        queries = self.queries.expand(len(maps), -1, -1)
        mixed = self.mix(torch.cat([queries, maps.flatten(2).transpose(1, 2)], dim=1))
        queries, patches = mixed[:, : self.outputs], mixed[:, self.outputs :]
        maps = patches.transpose(1, 2).unflatten(2, (rows, columns))
        maps = enlarge_by_steps(self.stages, maps, images.shape[-2:])[-1]
        return [torch.einsum("bqc,bchw->bqhw", self.project(queries), maps) + self.bias]
