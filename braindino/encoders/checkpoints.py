"""Weights in: every form in which an encoder can be named, read without running code from the file."""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, TypedDict

import safetensors.torch
import timm
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from braindino.encoders.base import Encoder
from braindino.encoders.dinov3_files import describe_dinov3, rename, settings_of
from braindino.encoders.key_mapping import is_dinov3
from braindino.encoders.pretrained import HUB, published_vit
from braindino.encoders.vit import ViTEncoder, create_vit
from braindino.encoders.volumes import NAMES as VOLUMES
from braindino.encoders.volumes import load_volume_encoder
from braindino.encoders.weight_files import (
    is_safetensors,
    refuse_other_content,
    some,
    state_dict_of,
    vit_weights,
)
from braindino.errors import BraindinoError
from braindino.files import check_shape, read_json
from braindino.scans.preprocessing import Preprocessing
from braindino.scans.seen import Seen
from braindino.training.checkpoint_names import FOLDER, METADATA, is_sharded, run_checkpoints

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
PEOPLE = "pretraining_people.txt"
NORM_EPS = "norm_eps"  # argument of `create_vit` that timm does not know
_log = logging.getLogger(__name__)
UNTRAINED = "untrained:"
SUFFIXES = (".ckpt", ".pth", ".pt", ".safetensors")
# What stands beside the network in files of timm's and DINOv2's: classifiers, the token of masked patches.
_BESIDE = ("head.", "head_dist.", "fc_norm.", "mask_token")


class _Described(TypedDict):
    """What a checkpoint of `fit` and an export say of their encoder."""

    architecture: str
    model_args: dict[str, Any]
    preprocessing: dict[str, Any]


class _Braindino(TypedDict):
    preprocessing: dict[str, Any]


class _Config(TypedDict):
    """config.json of an export."""

    architecture: str
    model_args: dict[str, Any]
    braindino: _Braindino


def load_encoder(spec: str, contract: Preprocessing | None = None, seed: int = 0) -> Encoder:
    """The frozen encoder that `spec` names.

    Args:
        spec: a folder made by `braindino export`; a pretraining run folder or its `.ckpt`; a `.pth` or
            `.safetensors` of DINOv3 or BrainDINO weights; `scratch` or `scratch:<timm name>` for a random
            initialisation; a timm name, whose published weights must be on this machine, or
            `hub:<timm name>`, which fetches them; `<timm name>:FILE` for a file of any other ViT of timm's;
            `brainiac:FILE`, `bm_mae:FILE`, `brainmvp:FILE`, `brainsegfounder:FILE` for a 3-D encoder; or
            `untrained:` before any of them, for the same network and contract with random weights.
        contract: the preprocessing for weights that carry none of their own (bare files, `scratch`, timm
            names); the paper's if omitted. Weights that carry one keep it; a 3-D encoder has its own.
        seed: of the random initialisation.

    Raises:
        BraindinoError: nothing of that name, or the file is broken, needs unpickling, or does not fit.
    """
    if spec.startswith(UNTRAINED):
        return _untrained(spec, contract, seed)
    path = Path(spec)
    if spec.partition(":")[0] in VOLUMES and ":" in spec:
        return load_volume_encoder(spec, seed)
    if spec == "scratch" or spec.startswith("scratch:"):
        return _from_scratch(spec.partition(":")[2] or "vit_base_patch16_dinov3", contract, seed)
    if (path / CONFIG).is_file():
        return _from_export(path)
    if (path / "checkpoints").is_dir():
        return _from_checkpoint(last_checkpoint(path))
    if path.is_file():
        return _from_checkpoint(path) if path.suffix == ".ckpt" else _from_weights(path, contract)
    if timm.is_model(spec.partition(":")[0]) and ":" in spec:
        return _from_timm_file(spec, contract)
    if spec.startswith(HUB) or (not path.exists() and timm.is_model(spec)):
        return _from_timm(spec, contract)
    raise BraindinoError(
        f"encoder {spec!r} is not a folder with {CONFIG}, a run folder, a file ({', '.join(SUFFIXES)}), "
        f"`scratch`, `untrained:ENCODER`, a timm name, `hub:<timm name>`, or FILE after one of <timm name>, "
        f"{', '.join(VOLUMES)} and a colon.\n"
        "Make one with `braindino export RUN --out encoder`."
    )


def last_checkpoint(run: Path) -> Path:
    """Return the checkpoint of the most steps in a run folder that can be read in full.

    Damaged ones, and files of other names, are passed over with a warning.

    Raises:
        BraindinoError: there is none, or none that can be read.
    """
    return newest_state(run)[0]


def newest_state(run: Path) -> tuple[Path, int]:
    """Return `last_checkpoint` and the number of optimiser steps that it was saved after.

    Raises:
        BraindinoError: there is none, or none that can be read.
    """
    named, strange = run_checkpoints(run)
    if strange:
        names = ", ".join(path.name for path in strange)
        _log.warning("passed over %s in %s: not named step<number>.ckpt", names, run / FOLDER)
    damaged: list[tuple[str, BraindinoError]] = []
    for path in named:
        try:
            step = int(read_file(path / METADATA if is_sharded(path) else path).get("global_step", 0))
        except BraindinoError as error:
            damaged.append((path.name, error))
            continue
        if damaged:
            names = ", ".join(name for name, _ in damaged)
            _log.warning("passed over %s (damaged or refused), using %s", names, path.name)
        return path, step
    if damaged:
        names = ", ".join(name for name, _ in damaged[1:])
        raise BraindinoError(
            f"{damaged[0][1]}\n{f'Nor can {names} be read. ' if names else ''}"
            "Remove such checkpoints to start from the beginning, or name another run with --run.id."
        )
    renamed = f" It holds {strange[0].name}: name that file itself." if strange else ""
    raise BraindinoError(
        f"{run / FOLDER} holds no step<number>.ckpt: the run has saved nothing yet.{renamed}"
    )


def _obstacle(error: UnpicklingError) -> str:
    """What torch met in the file, without its advice to read it unsafely."""
    met = str(error).partition("WeightsUnpickler error:")[2].strip()
    return met.partition("\n")[0].partition(". ")[0] or "torch finds no plain weights in it"


def read_file(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code that it may contain.

    Raises:
        BraindinoError: truncated or damaged, no weights at all (a git-lfs pointer, a web page, ...), or it
            holds objects that would have to be unpickled.
    """
    if path.is_dir():
        raise BraindinoError(
            f"{path}: a folder, as a sharded run saves it, and no single file of weights.\n"
            f"`python -m lightning.pytorch.utilities.consolidate_checkpoint {path}` makes one of it."
        )
    refuse_other_content(path)
    try:
        if path.suffix == ".safetensors" or is_safetensors(path):
            return dict(safetensors.torch.load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        raise BraindinoError(
            f"{path}: cannot be read as plain weights ({_obstacle(error)}).\n"
            "A file that needs unpickling could run any code and is refused: where it was made, save "
            "only its state dict, e.g. with safetensors."
        ) from error
    except (RuntimeError, EOFError, OSError, SafetensorError, ValueError, KeyError) as error:
        raise BraindinoError(
            f"{path}: damaged or not a checkpoint ({str(error).splitlines()[0]})."
        ) from error
    if not isinstance(content, dict):
        raise BraindinoError(f"{path}: expected a dictionary of tensors, found {type(content).__name__}.")
    return content


def fit_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> None:
    """Load `weights` strictly; the error lists what is missing, unexpected or of another shape."""
    own = model.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unexpected = sorted(weights.keys() - own.keys())
    shapes = [
        f"{name} {tuple(weights[name].shape)} for {tuple(own[name].shape)}"
        for name in sorted(own.keys() & weights.keys())
        if own[name].shape != weights[name].shape
    ]
    if missing or unexpected or shapes:
        parts = [("missing", missing), ("unexpected", unexpected), ("shape", shapes)]
        told = "; ".join(
            f"{len(names)} {what}: {', '.join(names[:4])}{', ...' if len(names) > 4 else ''}"
            for what, names in parts
            if names
        )
        raise BraindinoError(f"{source}: the weights do not fit the architecture.\n{told}")
    model.load_state_dict(dict(weights))


def describe_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """Of a pretraining `.ckpt`: the encoder's description, the teacher's backbone, the whole content."""
    content = read_file(path)
    described = content.get("encoder")
    if not isinstance(described, dict) or "state_dict" not in content:
        raise BraindinoError(
            f"{path}: not a checkpoint of `braindino fit` (no entry 'encoder').\n"
            f"Weights of DINOv3 or BrainDINO are read from {', '.join(SUFFIXES[1:])} files."
        )
    if described.get("architecture") == "swin":
        raise BraindinoError(f"{path}: holds a 3-D Swin encoder; name it `brainsegfounder:{path}`.")
    prefix = "teacher.backbone."
    weights = {
        name.removeprefix(prefix): value
        for name, value in content["state_dict"].items()
        if name.startswith(prefix)
    }
    return described, weights, content


def _from_scratch(architecture: str, contract: Preprocessing | None, seed: int) -> ViTEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = create_vit(architecture, **_any_size(architecture))
    encoder = ViTEncoder(model, contract or Preprocessing(), architecture, _any_size(architecture))
    encoder.seen = Seen()
    return encoder


def _untrained(spec: str, contract: Preprocessing | None, seed: int) -> Encoder:
    """Return the network that `untrained:SPEC` names, before its training; it has seen nobody."""
    twin = load_encoder(spec.removeprefix(UNTRAINED), contract, seed).untrained(seed)
    if twin is None:
        raise BraindinoError(f"encoder {spec!r}: this kind of encoder has no untrained twin.")
    twin.seen = Seen()
    return twin


def encoder_label(spec: str) -> str:
    """Return the name of a folder or column for the encoder that `spec` names: the last part of its path."""
    untrained, rest = spec.startswith(UNTRAINED), spec.removeprefix(UNTRAINED)
    name = Path(os.path.abspath(rest)).name.replace(":", "-")  # noqa: PTH100  # `..` by its name
    return f"untrained-{name}" if untrained else name


def _any_size(architecture: str) -> dict[str, Any]:
    """What timm must be told so that a ViT takes slices of any size; those of DINOv3 do of themselves."""
    return {} if "dinov3" in architecture else {"dynamic_img_size": True}


def _build(
    described: Mapping[str, Any], weights: Mapping[str, Tensor], source: str, description: str
) -> ViTEncoder:
    """The encoder that the file `description` describes, with the weights that came from `source`."""
    check_shape(described, _Described, description)
    arguments = dict(described["model_args"])
    contract = Preprocessing.from_file(described["preprocessing"], description)
    try:
        model = create_vit(described["architecture"], **arguments)
    except BraindinoError as error:
        raise BraindinoError(f"{description}: {error}") from error
    fit_weights(model, weights, source)
    return ViTEncoder(model, contract, described["architecture"], arguments)


def _from_checkpoint(path: Path) -> ViTEncoder:
    described, weights, content = describe_checkpoint(path)
    encoder = _build(described, weights, str(path), str(path))
    encoder.seen = Seen.of_checkpoint(content)
    return encoder


def _from_export(folder: Path) -> ViTEncoder:
    config = read_json(folder / CONFIG, dict[str, Any])
    for entry in ("braindino", "architecture", "model_args"):
        if entry not in config:
            raise BraindinoError(
                f"{folder / CONFIG}: no entry {entry!r}: not a folder made by `braindino export`."
            )
    check_shape(config, _Config, folder / CONFIG)
    own = config["braindino"]
    described = {
        "architecture": config["architecture"],
        "model_args": {**config["model_args"], **({NORM_EPS: own[NORM_EPS]} if NORM_EPS in own else {})},
        "preprocessing": own["preprocessing"],
    }
    encoder = _build(described, read_file(folder / WEIGHTS), str(folder / WEIGHTS), str(folder / CONFIG))
    people = folder / PEOPLE
    if people.is_file():
        encoder.seen = Seen.read(people)
    return encoder


def _from_weights(path: Path, contract: Preprocessing | None) -> ViTEncoder:
    weights = vit_weights(state_dict_of(read_file(path), str(path)), str(path))
    architecture, arguments, weights = describe_dinov3(weights, str(path))
    model = create_vit(architecture, **arguments)
    fit_weights(model, weights, str(path))
    return ViTEncoder(model, contract or Preprocessing(), architecture, arguments)


def _from_timm_file(spec: str, contract: Preprocessing | None) -> ViTEncoder:
    """A ViT from a file in timm's layout, or in one that timm converts, such as DINOv2's own."""
    name, _, file = spec.partition(":")
    if not Path(file).is_file():
        raise BraindinoError(f"encoder {spec!r}: no file {file}; `scratch:{name}` has random weights.")
    content = state_dict_of(read_file(Path(file)), file)
    if any(key.endswith("cls_token") for key in content):
        content = vit_weights(content, file)
    if "dinov3" in name and is_dinov3(content):  # timm's own conversion drops biases and periods unseen
        return _named_dinov3(name, content, file, contract)
    kernel = content.get("patch_embed.proj.weight")
    arguments = _any_size(name)
    if kernel is not None and kernel.shape[1] != 3:
        arguments["in_chans"] = kernel.shape[1]
    model = create_vit(name, **arguments)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    try:
        weights = content if convert is None else convert(content, model)
    except (KeyError, RuntimeError, ValueError, AttributeError, TypeError) as error:
        raise BraindinoError(
            f"{file}: holds no weights of {name} ({error}; found {some(list(content))})."
        ) from error
    own = model.state_dict().keys()
    weights = {k: v for k, v in weights.items() if k in own or not k.startswith(_BESIDE)}
    fit_weights(model, weights, file)
    return ViTEncoder(model, contract or Preprocessing(), name, arguments)


def _named_dinov3(
    name: str, content: dict[str, Tensor], file: str, contract: Preprocessing | None
) -> ViTEncoder:
    """A file in DINOv3's own names as the architecture `name`, with its own position encoding."""
    weights = rename(content, file)
    heads = create_vit(name, depth=1).blocks[0].attn.num_heads  # type: ignore[index, union-attr]
    arguments = settings_of(content, weights, file, int(heads))
    model = create_vit(name, **arguments)
    own = model.state_dict().keys()
    weights = {k: v for k, v in weights.items() if k in own or not k.endswith("_bias") or bool(v.any())}
    fit_weights(model, weights, file)
    return ViTEncoder(model, contract or Preprocessing(), name, arguments)


def _from_timm(spec: str, contract: Preprocessing | None) -> ViTEncoder:
    name = spec.removeprefix(HUB)
    arguments = _any_size(name)
    return ViTEncoder(published_vit(spec, arguments), contract or Preprocessing(), name, arguments)
