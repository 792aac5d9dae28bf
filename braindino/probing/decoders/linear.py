"""The linear decoder: what the tokens contain by themselves, as DINOv3 evaluates them."""

from torch import Tensor, nn

from braindino.identity import stable_id
from braindino.probing.decoders.base import WARMUP, Decoder, flatten_present, initialise, resize
from braindino.probing.heads.base import OptimizerDefaults

DROPOUT = 0.1
# Deviation of the initial weights.
DEVIATION = 0.01


@stable_id("LinearDecoder")
class LinearDecoder(Decoder):
    """Compute the logits of each token by a linear map, and enlarge them to the slice.

    The normed tokens of the last block pass dropout of channels (0.1), batch normalisation without learnt
    scale, and a 1 x 1 convolution; the logits are enlarged by bilinear interpolation (DINOv3, section "Dense
    linear probing", and its released evaluation). No token sees another one, and none its place.
    """

    name = "linear"
    reads_coordinates = False
    optimizer_defaults = OptimizerDefaults(lr=1e-3, weight_decay=1e-3, decay=True, warmup=WARMUP)
    returns_logits = True

    def choose_blocks(self, blocks: int) -> list[int]:
        """Return the number of the last block."""
        return [blocks - 1]

    def make(self) -> list[int]:
        """Initialise the parameters; return the number of outputs. See `Decoder.make`."""
        width = self.stack * self.token_channels
        self.classify = nn.Conv2d(width, self.outputs, 1)
        self.classify.apply(initialise)
        nn.init.normal_(self.classify.weight, std=DEVIATION)
        self.norm = nn.Sequential(nn.Dropout2d(DROPOUT), nn.BatchNorm2d(width, affine=False))
        return [self.outputs]

    def levels(self, tokens: Tensor, images: Tensor, present: Tensor) -> list[Tensor]:
        """Return logits (B, outputs, H, W); see `Decoder.levels`."""
        logits = self.classify(self.norm(flatten_present(tokens, present)))
        return [resize(logits, images.shape[-2:])]
