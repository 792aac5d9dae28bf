"""A decoder by queries: one query per channel of the maps attends over the tokens (EoMT)."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from braindino.identity import stable_id
from braindino.probing.decoders.base import (
    Decoder,
    coordinates,
    flatten_present,
    initialise,
    resize,
)
from braindino.probing.decoders.layers import conv_block

WIDTH, HEADS, LAYERS, QUERIES = 64, 4, 2, 16
NARROWEST = 24


@stable_id("AttentionDecoder")
class AttentionDecoder(Decoder):
    """Decode tokens by queries that attend over all tokens of the slice.

    The tokens, with their coordinates, are projected to 64 channels. Sixteen learnt queries and the tokens
    pass two transformer layers together, so that every token sees the whole slice through attention. A map
    is the product of a query with the enlarged tokens (EoMT, Kerssies et al. 2025, section 3); the head's
    1 x 1 convolution weighs the maps for each region.
    """

    name = "attention"

    def make(self) -> list[int]:
        """Initialise the parameters; return the channels of the maps. See `Decoder.make`."""
        self.stem = nn.Conv2d(self.stack * self.token_channels + 2, WIDTH, 1)
        self.queries = nn.Parameter(torch.randn(QUERIES, WIDTH) * WIDTH**-0.5)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.mix = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        widths = [WIDTH]
        for _ in range(self.doublings):
            widths.append(max(widths[-1] * 3 // 4 // 8 * 8, NARROWEST))
        self.stages = nn.ModuleList(conv_block(width, narrower) for width, narrower in pairwise(widths))
        self.project = nn.Linear(WIDTH, widths[-1])
        self.apply(initialise)
        return [QUERIES]

    def levels(self, tokens: Tensor, images: Tensor, present: Tensor) -> list[Tensor]:
        """Return maps (B, width, H, W); see `Decoder.levels`."""
        joined = flatten_present(tokens, present)
        maps = self.stem(torch.cat([joined, coordinates(joined)], dim=1))
        rows, columns = maps.shape[-2:]
        queries = self.queries.expand(len(maps), -1, -1)
        mixed = self.mix(torch.cat([queries, maps.flatten(2).transpose(1, 2)], dim=1))
        queries, patches = mixed[:, :QUERIES], mixed[:, QUERIES:]
        maps = patches.transpose(1, 2).unflatten(2, (rows, columns))
        height, width = images.shape[-2:]
        for number, stage in enumerate(self.stages):
            last = number == len(self.stages) - 1
            size = [
                min(2 * side, limit) for side, limit in zip(maps.shape[-2:], (height, width), strict=True)
            ]
            maps = stage(resize(maps, (height, width) if last else size))
        return [torch.einsum("bqc,bchw->bqhw", self.project(queries), maps)]
