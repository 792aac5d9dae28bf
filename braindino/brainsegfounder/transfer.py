"""Weights from one Swin encoder to another: all keys must fit, channels are matched by sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, nn

from braindino.encoders.modalities import sequence_of
from braindino.encoders.volumes.base import weights_of
from braindino.encoders.volumes.swin import SwinShape, channel_shares, shape_of
from braindino.encoders.weight_files import last_checkpoint, read_file
from braindino.errors import BraindinoError
from braindino.scans.seen import Seen

PATCHES = "patch_embed.proj.weight"
PREFIXES = ("encoder.", "swinViT.", "network.swinViT.")  # own pretraining, published, own segmentation


@dataclass(frozen=True)
class Source:
    """A Swin encoder in a file.

    channels: what its input channels show, `t1`, `t1ce`, `t2`, `flair` or a name nobody knows.
    seen: people and scans seen in training, or None if the file does not record them.
    """

    path: Path
    weights: dict[str, Tensor]
    shape: SwinShape
    seen: Seen | None


@dataclass(frozen=True)
class Transfer:
    """What became of the keys."""

    loaded: tuple[str, ...]
    inflated: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __str__(self) -> str:
        """One line."""
        parts = [
            f"{len(names)} {what}" + (f" ({', '.join(names[:3])})" if names and what != "loaded" else "")
            for what, names in (
                ("loaded", self.loaded), ("inflated", self.inflated), ("missing", self.missing),
                ("unexpected", self.unexpected),
            )
        ]  # fmt: skip
        return ", ".join(parts)


def read_source(spec: str) -> Source:
    """The Swin encoder of a run folder, a `.ckpt` of this project, or a published BrainSegFounder file.

    Raises:
        BraindinoError: no such file, or one without a Swin encoder.
    """
    path = Path(spec)
    path = last_checkpoint(path) if (path / "checkpoints").is_dir() else path
    if not path.is_file():
        raise BraindinoError(f"model.init_from {spec!r}: no run folder and no file of weights.")
    content = read_file(path)
    weights = weights_of(content, PREFIXES, str(path), "Swin encoder")
    shape = shape_of(weights, str(path))
    described = content.get("encoder")
    if isinstance(described, dict) and described.get("architecture") == "swin":
        shape = SwinShape.from_dict(described["shape"])
    return Source(path, weights, shape, Seen.of_checkpoint(content))


def transfer(encoder: nn.Module, channels: Sequence[str], source: Source) -> Transfer:
    """Load `source` into a Swin encoder whose input channels show `channels`; nothing is left to chance.

    The kernels of the patch embedding go to the channel of the same sequence; where the source has none, T1
    serves T1 with contrast, and the mean of all kernels everything else. (BrainSegFounder's code leaves this
    layer untrained, and where a prefix differs loads nothing without a word.)

    Raises:
        BraindinoError: a key is missing or of another shape; the message lists what was found.
    """
    own = encoder.state_dict()
    given = dict(source.weights)
    inflated: tuple[str, ...] = ()
    if PATCHES in given and tuple(channels) != source.shape.channels:
        kernels = given[PATCHES]
        shares = torch.tensor([channel_shares(name, source.shape.channels) for name in channels])
        given[PATCHES] = torch.einsum("cs,os...->oc...", shares.to(kernels.dtype), kernels)
        inflated = (PATCHES,)
    fitting = {name: value for name, value in given.items() if name in own and own[name].shape == value.shape}
    report = Transfer(
        loaded=tuple(sorted(fitting)),
        inflated=inflated,
        missing=tuple(sorted(own.keys() - fitting.keys())),
        unexpected=tuple(sorted(given.keys() - fitting.keys())),
    )
    if report.missing or report.unexpected:
        raise BraindinoError(
            f"{source.path}: its Swin encoder (depths {source.shape.depths}, width {source.shape.width}, "
            f"heads {source.shape.heads}, window {source.shape.window}) does not fit the model's.\n{report}\n"
            "Give model.depth, width, heads and window as the file has them."
        )
    encoder.load_state_dict(fitting)
    return report


@rank_zero_only
def tell(text: str) -> None:
    """Say something to whoever runs the command; Lightning's own messages are silenced there."""
    print(text, flush=True)


def channel_names(modalities: Sequence[str]) -> tuple[str, ...]:
    """What a manifest's modalities show: `t1`, ... where the sequence is known, else the name itself."""
    return tuple(sequence_of(name) or name for name in modalities)
