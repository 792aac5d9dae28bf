"""Load the weights of one Swin encoder into another; channels match by sequence."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from braindino.encoders.modalities import brats_sequence
from braindino.encoders.volumes.base import weights_under
from braindino.encoders.volumes.swin import SwinShape, channel_shares, shape_of
from braindino.encoders.weight_files import last_checkpoint, read_file
from braindino.errors import BraindinoError
from braindino.scans.seen import Seen

PATCH_KERNELS = "patch_embed.proj.weight"
# Prefixes of the encoder in a pretraining run of this project, a published file and a segmentation run.
PREFIXES = ("encoder.", "swinViT.", "network.swinViT.")


@dataclass(frozen=True)
class Source:
    """A Swin encoder in a file.

    Attributes:
        path: path of the file.
        weights: weights of the encoder, by the names of `swin`.
        shape: its sizes. Its channels are `t1`, `t1ce`, `t2`, `flair`, or a modality's name as it is.
        seen: people and scans seen in training, or None if the file does not record them.
    """

    path: Path
    weights: dict[str, Tensor]
    shape: SwinShape
    seen: Seen | None


@dataclass(frozen=True)
class TransferReport:
    """Names of weights, by what `transfer` did with them.

    Attributes:
        loaded: names taken from the source.
        inflated: names taken, and spread over other channels.
        missing: names in the encoder, not in the source.
        unexpected: names in the source without a place in the encoder.
    """

    loaded: tuple[str, ...]
    inflated: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __str__(self) -> str:
        """Return the four counts and some of the names as one line."""
        counts = [f"{len(self.loaded)} loaded"]
        for kind in ("inflated", "missing", "unexpected"):
            names: tuple[str, ...] = getattr(self, kind)
            counts.append(f"{len(names)} {kind}" + (f" ({', '.join(names[:3])})" if names else ""))
        return ", ".join(counts)


def read_source(spec: str) -> Source:
    """Read the Swin encoder of a run folder, a `.ckpt` or a published BrainSegFounder file.

    Args:
        spec: path, as `model.init_from` gives it.

    Raises:
        BraindinoError: no such file, or one without a Swin encoder.
    """
    path = Path(spec)
    path = last_checkpoint(path) if (path / "checkpoints").is_dir() else path
    if not path.is_file():
        raise BraindinoError(f"model.init_from {spec!r}: no run folder and no file of weights.")
    content = read_file(path)
    weights = weights_under(content, PREFIXES, str(path), "Swin encoder")
    shape = shape_of(weights, str(path))
    described = content.get("encoder")
    if isinstance(described, dict) and described.get("architecture") == "swin":
        shape = SwinShape.from_dict(described["shape"])
    return Source(path, weights, shape, Seen.of_checkpoint(content))


def transfer(encoder: nn.Module, channels: Sequence[str], source: Source) -> TransferReport:
    """Load all weights of `source` into a Swin encoder.

    The kernels of the patch embedding go to the channel of the same sequence; where the source has none, T1
    serves T1 with contrast, and the mean of all kernels serves every other channel. (BrainSegFounder's code
    leaves this layer untrained, and loads nothing, without a message, where a prefix differs.)

    Args:
        encoder: encoder that `swin` built.
        channels: sequence of each input channel of `encoder`; see `channel_names`.
        source: see `read_source`.

    Raises:
        BraindinoError: a key is missing or of another shape; the message lists them.
    """
    state = encoder.state_dict()
    weights = dict(source.weights)
    inflated: tuple[str, ...] = ()
    if PATCH_KERNELS in weights and tuple(channels) != source.shape.channels:
        kernels = weights[PATCH_KERNELS]
        shares = torch.tensor([channel_shares(name, source.shape.channels) for name in channels])
        weights[PATCH_KERNELS] = torch.einsum("cs,os...->oc...", shares.to(kernels.dtype), kernels)
        inflated = (PATCH_KERNELS,)
    fitting = {
        name: value for name, value in weights.items() if name in state and state[name].shape == value.shape
    }
    report = TransferReport(
        loaded=tuple(sorted(fitting)),
        inflated=inflated,
        missing=tuple(sorted(state.keys() - fitting.keys())),
        unexpected=tuple(sorted(weights.keys() - fitting.keys())),
    )
    if report.missing or report.unexpected:
        raise BraindinoError(
            f"{source.path}: its Swin encoder (depths {source.shape.depths}, width {source.shape.width}, "
            f"heads {source.shape.heads}, window {source.shape.window}) does not fit the model's.\n{report}\n"
            "Give model.depth, width, heads and window as the file has them."
        )
    encoder.load_state_dict(fitting)
    return report


def channel_names(modalities: Sequence[str]) -> tuple[str, ...]:
    """Return the sequence of each modality (`t1`, ...), or its name if that is unknown."""
    return tuple(brats_sequence(name) or name for name in modalities)
