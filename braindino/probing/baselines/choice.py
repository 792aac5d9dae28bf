"""Choose the baselines of a study: those that always apply, and those that are requested by name."""

from braindino.encoders.base import Encoder
from braindino.errors import BraindinoError
from braindino.probing.baselines.traits import known_traits
from braindino.probing.data.cases import ProbeCases
from braindino.probing.decoders.base import Decoder
from braindino.probing.decoders.registry import DEFAULT, decoder_class
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.probing.module import FrozenProbeModule
from braindino.probing.protocol import BASELINES, Protocol


def check_names(module: FrozenProbeModule, protocol: Protocol) -> None:
    """Raise BraindinoError if a baseline that is requested by name does not apply to a probe.

    Args:
        module: the probe.
        protocol: names the baselines.
    """
    for name in protocol.named_baselines:
        if reason := _unsuitable(name, module, protocol.recipe):
            raise BraindinoError(f"probe.baselines {name}: {reason}.\nLeave it out.")


def check_data(cases: ProbeCases, encoder: Encoder, protocol: Protocol) -> None:
    """Raise BraindinoError if a baseline that is requested by name does not apply to data or encoder.

    Args:
        cases: all cases of the study.
        encoder: the encoder of the probe.
        protocol: names the baselines.
    """
    reason = ""
    if "age_sex_site" in protocol.named_baselines and not known_traits(cases):
        reason = "age_sex_site: none of them varies among the training cases, beside the target"
    if "untrained_encoder" in protocol.named_baselines and untrained_twin(encoder) is None:
        reason = "untrained_encoder: the encoder is untrained itself, or cannot be built without its weights"
    if reason:
        raise BraindinoError(f"probe.baselines {reason}.\nLeave it out.")


def chosen_baselines(module: FrozenProbeModule, cases: ProbeCases, protocol: Protocol) -> list[str]:
    """Return the names of the baselines to train, in the order of `BASELINES`.

    `untrained_encoder` is among them even if the encoder has no untrained twin.

    Args:
        module: the probe.
        cases: all cases of the study.
        protocol: names the baselines.
    """
    if protocol.baselines is False:
        return []
    automatic = {"untrained_encoder"}
    if known_traits(cases):
        automatic.add("age_sex_site")
    if isinstance(module.head, SegmentationHead) and _decoder(module.head, protocol.recipe).reads_pixels:
        automatic.add("no_tokens")
    suitable = {name for name in automatic if not _unsuitable(name, module, protocol.recipe)}
    return [name for name in BASELINES if name in suitable | set(protocol.named_baselines)]


def untrained_twin(encoder: Encoder) -> Encoder | None:
    """Return the encoder with random weights; None if there is none, or if it is untrained itself.

    Args:
        encoder: the encoder of the probe.
    """
    twin = encoder.untrained()
    return None if twin is None or twin.digest == encoder.digest else twin


def _decoder(head: SegmentationHead, recipe: str) -> type[Decoder]:
    """Return the decoder of a head, which an earlier step may have left to the recipe."""
    return decoder_class(head.decoder or ("paper" if recipe == "paper" else DEFAULT))


def _unsuitable(name: str, module: FrozenProbeModule, recipe: str) -> str:
    """Return the reason why a baseline does not apply to the head of a probe; "" if it does.

    Args:
        name: one of `BASELINES`.
        module: the probe.
        recipe: recipe of the probe, by which an omitted decoder is chosen.
    """
    head = module.head
    if not isinstance(head, SegmentationHead):
        return "only a segmentation has it" if name in ("no_tokens", "unet") else ""
    decoder = _decoder(head, recipe)
    if name == "age_sex_site":
        return "age, sex and site predict no masks"
    if name == "unet":
        return "the probe is this U-Net itself" if decoder.name == "unet" else ""
    if not decoder.reads_tokens:
        return f"the decoder {decoder.name} of the probe reads no tokens of an encoder"
    if not head.use_tokens:
        return "the tokens of the probe itself are zero (model.head.init_args.use_tokens)"
    if name == "no_tokens" and not (decoder.reads_pixels or decoder.reads_coordinates):
        return f"without tokens the masks of the decoder {decoder.name} are the same in every slice"
    return ""
