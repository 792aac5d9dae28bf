"""The linear decoder: what the tokens contain by themselves, as DINOv3 evaluates them."""

from torch import Tensor, nn

from braindino.identity import stable_id
from braindino.probing.decoders.base import Decoder, flatten_present, resize
from braindino.probing.heads.base import OptimizerDefaults


@stable_id("LinearDecoder")
class LinearDecoder(Decoder):
    """Enlarge batch-normed tokens to the slice; the head's 1 x 1 convolution is all that is trained.

    The normed tokens of the last block pass batch normalisation without learnt scale, and bilinear
    enlargement (DINOv3, section "Dense linear probing"). No token sees another one, and none its place.
    """

    name = "linear"
    optimizer_defaults = OptimizerDefaults(lr=1e-3, weight_decay=1e-3, decay=True)

    def choose_blocks(self, blocks: int) -> list[int]:
        """Return the number of the last block."""
        return [blocks - 1]

    def make(self) -> list[int]:
        """Initialise the parameters; return the channels of the maps. See `Decoder.make`."""
        width = self.stack * self.token_channels
        self.norm = nn.BatchNorm2d(width, affine=False)
        return [width]

    def levels(self, tokens: Tensor, images: Tensor, present: Tensor) -> list[Tensor]:
        """Return maps (B, width, H, W); see `Decoder.levels`."""
        return [resize(self.norm(flatten_present(tokens, present)), images.shape[-2:])]
