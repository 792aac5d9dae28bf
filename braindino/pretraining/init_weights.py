"""Initialise a run from an earlier run, an export or a file of weights, loaded strictly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.models.eva import Eva
from torch import Tensor

from braindino.encoders.checkpoints import load_encoder, read_pretraining_checkpoint
from braindino.encoders.vit import ViTEncoder
from braindino.encoders.weight_files import fit_weights, last_checkpoint
from braindino.errors import BraindinoError
from braindino.files import portable_path
from braindino.pretraining.model.network import Student
from braindino.scans.contract import Preprocessing
from braindino.scans.seen import Seen

_SAVED = ("source", "digest", "report")


@dataclass(frozen=True)
class LoadedWeights:
    """Weights that a run started from; recorded in its checkpoints.

    Attributes:
        source: the file, with a run folder resolved to its newest checkpoint.
        digest: digest of the encoder that was loaded (see `Encoder.digest`).
        report: description of what was loaded, in lines to read.
        seen: people and scans that the loaded weights were trained on; None if they do not record them, and
            in a start that was read from a checkpoint, whose own list contains them.
    """

    source: str
    digest: str
    report: str
    seen: Seen | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for a checkpoint; without `seen`, which the checkpoint lists itself.

        A checkpoint may be given away: of an absolute source only the end is written.
        """
        source = portable_path(self.source, Path.cwd()) if Path(self.source).is_absolute() else self.source
        report = self.report.replace(self.source, source)
        return {"source": source, "digest": self.digest, "report": report}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "LoadedWeights":
        """Return the record that `to_dict` made."""
        return cls(**{name: values[name] for name in _SAVED})


def resolve(source: str) -> str:
    """Return the newest checkpoint of a run folder; any other source unchanged.

    Called once per start, as a run that still trains may write another at any time.
    """
    path = Path(source)
    return str(last_checkpoint(path)) if (path / "checkpoints").is_dir() else source


def load_backbone(source: str, backbone: Eva, contract: Preprocessing, key: str) -> LoadedWeights:
    """Load the encoder that `source` names into `backbone`, strictly.

    Every parameter of the backbone is loaded, and every weight of the source is used. A backbone with one
    input channel takes weights for three, whose kernels are summed: that is exact, as the grey slice would
    have been repeated.

    Args:
        source: a pretraining run folder or `.ckpt` (its teacher), a folder made by `braindino export`, or a
            file of DINOv3 weights; see `load_encoder`.
        backbone: backbone whose weights are replaced.
        contract: contract of the slices trained on; the report lists in what the source's differs.
        key: the config key that named `source`, for messages.

    Returns:
        The loaded weights: their source and digest, and a report.

    Raises:
        BraindinoError: no such source, another architecture, or one channel for a backbone with three.
    """
    path = Path(resolve(source))
    encoder = load_encoder(str(path), contract)
    if not isinstance(encoder, ViTEncoder):
        raise BraindinoError(f"{key} {source}: {type(encoder).__name__} is not a ViT in two dimensions.")
    source_model: Eva = encoder.model
    weights = dict(source_model.state_dict())
    notes = []
    if backbone.patch_embed.proj.in_channels == 1 and encoder.in_chans == 3:
        kernel = "patch_embed.proj.weight"
        weights[kernel] = weights[kernel].sum(dim=1, keepdim=True)
        notes.append("kernels of 3 channels summed to 1")
    if _shapes(weights) != _shapes(backbone.state_dict()) or not _same_positions(source_model, backbone):
        arguments = {k: v for k, v in encoder.model_args.items() if k != "in_chans"}
        raise BraindinoError(
            f"{key} {path} contains {_describe(source_model)}; the model is {_describe(backbone)}.\n"
            f"To start from it set model.architecture: {encoder.architecture}, "
            f"model.in_chans: {encoder.in_chans}, model.model_args: {arguments}."
        )
    fit_weights(backbone, weights, str(path))
    eps = [float(model.norm.eps) for model in (source_model, backbone)]
    if eps[0] != eps[1]:
        notes.append(f"eps of the norms {eps[0]:g} in the source, {eps[1]:g} here")
    seen = encoder.seen
    notes += [f"prepared differently: {line}" for line in encoder.preprocessing.difference(contract)]
    count = "unknown" if seen is None else f"{len(seen.people)}{' or more' if seen.gaps else ''}"
    notes.append(f"{count} people seen before")
    report = (
        f"{key}: backbone of {path} ({len(weights)} tensors, {_describe(source_model)}; {'; '.join(notes)})"
    )
    return LoadedWeights(str(path), encoder.digest, report, seen)


def load_heads(source: str, student: Student) -> str:
    """Load the teacher's heads and the mask token of a pretraining checkpoint.

    Args:
        source: a `.ckpt`, as `LoadedWeights.source` names it.
        student: student whose heads and mask token are replaced.

    Returns:
        A line that describes what was loaded.

    Raises:
        BraindinoError: not a pretraining checkpoint, or heads of other sizes.
    """
    path = Path(source)
    if path.suffix != ".ckpt":
        raise BraindinoError(
            f"model.init_heads: {path} contains no heads, only a pretraining run does.\n"
            "Name the run's folder in model.init_from, or set model.init_heads: false."
        )
    state: dict[str, Tensor] = read_pretraining_checkpoint(path)[2]["state_dict"]
    for name, head in (("dino_head", student.dino_head), ("ibot_head", student.ibot_head)):
        prefix = f"teacher.{name}."
        weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        if _shapes(weights) != _shapes(head.state_dict()):
            sizes = {n: tuple(v.shape) for n, v in weights.items()}.get("prototypes.weight")
            raise BraindinoError(
                f"model.init_heads: the {name} of {path} has other sizes (prototypes x bottleneck {sizes}).\n"
                f"Set model.{name} as in that run's config.yaml, or model.init_heads: false."
            )
        fit_weights(head, weights, str(path))
    student.mask_token.data.copy_(state["student.mask_token"])
    return f"model.init_heads: DINO head, iBOT head and mask token of {path}"


def _shapes(weights: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in weights.items()}


def _same_positions(one: Eva, other: Eva) -> bool:
    """Return whether two ViTs encode positions alike; the periods are in no state dict."""
    periods = [getattr(model.rope, "periods", None) for model in (one, other)]
    if periods[0] is None or periods[1] is None:
        return periods[0] is periods[1]
    return torch.equal(periods[0].cpu(), periods[1].cpu())


def _describe(model: Eva) -> str:
    """Return the sizes in which two ViTs may differ, as one phrase."""
    patch_embed = model.patch_embed
    names = model.state_dict().keys()
    rope_base = getattr(model.rope, "temperature", None)
    biases = "with" if any(name.endswith(("q_bias", "qkv.bias")) for name in names) else "without"
    return (
        f"a ViT of width {model.num_features} and depth {len(model.blocks)}, patch "
        f"{patch_embed.patch_size[0]}, {patch_embed.proj.in_channels} channels, "
        f"{model.num_prefix_tokens - 1} registers, {biases} query biases, "
        + ("no RoPE" if rope_base is None else f"RoPE of base {rope_base:g}")
    )
