"""The decoders by name, as `model.head.init_args.decoder` chooses them."""

from typing import Literal, get_args

from braindino.errors import BraindinoError
from braindino.probing.decoders.attention import AttentionDecoder
from braindino.probing.decoders.base import Decoder
from braindino.probing.decoders.conv import ConvDecoder
from braindino.probing.decoders.detail import DetailDecoder
from braindino.probing.decoders.linear import LinearDecoder
from braindino.probing.decoders.paper import PatchDecoder
from braindino.probing.decoders.unet import UNetDecoder

DecoderName = Literal["conv", "detail", "attention", "linear", "paper", "unet"]
DEFAULT: DecoderName = "conv"
DECODERS: dict[str, type[Decoder]] = {
    decoder.name: decoder
    for decoder in (ConvDecoder, DetailDecoder, AttentionDecoder, LinearDecoder, PatchDecoder, UNetDecoder)
}
assert set(DECODERS) == set(get_args(DecoderName))


def decoder_class(name: str) -> type[Decoder]:
    """Return the class of a decoder.

    Raises:
        BraindinoError: there is no decoder of that name.
    """
    if name not in DECODERS:
        raise BraindinoError(f"model.head.init_args.decoder {name!r}: expected {', '.join(DECODERS)}.")
    return DECODERS[name]
