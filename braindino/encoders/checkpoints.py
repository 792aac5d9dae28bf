"""Load an encoder from any form in which it can be named, without running code of a file."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import timm
import torch
from torch import Tensor

from braindino.encoders.base import Encoder
from braindino.encoders.dinov3_files import dinov3_model_args, identify_dinov3, rename
from braindino.encoders.key_mapping import is_dinov3
from braindino.encoders.pretrained import HUB, published_vit
from braindino.encoders.vit import ViTEncoder, create_vit
from braindino.encoders.volumes import NAMES as VOLUMES
from braindino.encoders.volumes import load_volume_encoder
from braindino.encoders.weight_files import (
    first_names,
    fit_weights,
    last_checkpoint,
    read_file,
    state_dict_of,
    vit_weights,
)
from braindino.errors import BraindinoError
from braindino.files import check_shape, read_json
from braindino.scans.contract import Preprocessing
from braindino.scans.seen import Seen

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
PEOPLE_FILE = "pretraining_people.txt"
UNTRAINED_PREFIX = "untrained:"
WEIGHT_SUFFIXES = (".ckpt", ".pth", ".pt", ".safetensors")
NORM_EPS = "norm_eps"  # argument of `create_vit` that timm does not have
# Weights beside the network in files of timm and DINOv2: classifiers, the token of masked patches.
_UNUSED = ("head.", "head_dist.", "fc_norm.", "mask_token")


class _Described(TypedDict):
    """Description of the encoder in a checkpoint of `fit` and in an export.

    Attributes:
        architecture: a timm name.
        model_args: arguments of `create_vit`.
        preprocessing: the contract, as `Preprocessing.to_dict` returns it.
    """

    architecture: str
    model_args: dict[str, Any]
    preprocessing: dict[str, Any]


class _Braindino(TypedDict):
    """Entry `braindino` of an export's config.json.

    Attributes:
        preprocessing: the contract, as `Preprocessing.to_dict` returns it.
    """

    preprocessing: dict[str, Any]


class _Config(TypedDict):
    """Content of an export's config.json.

    Attributes:
        architecture: a timm name.
        model_args: arguments of `create_vit` that timm takes as well.
        braindino: entries that timm does not have.
    """

    architecture: str
    model_args: dict[str, Any]
    braindino: _Braindino


def load_encoder(spec: str, contract: Preprocessing | None = None, seed: int = 0) -> Encoder:
    """Return the frozen encoder that `spec` names.

    Args:
        spec: a folder made by `braindino export`; a pretraining run folder or its `.ckpt`; a `.pth` or
            `.safetensors` of DINOv3 or BrainDINO weights; `scratch` or `scratch:<timm name>` for a random
            initialisation; a timm name, whose published weights must be on this machine, or
            `hub:<timm name>`, which fetches them; `<timm name>:FILE` for a file of any other ViT of timm's;
            `brainiac:FILE`, `bm_mae:FILE`, `brainmvp:FILE`, `brainsegfounder:FILE` for a 3-D encoder; or
            `untrained:` before any of them, for the same network and contract with random weights.
        contract: the preprocessing for weights that carry none of their own (bare files, `scratch`, timm
            names); the paper's if omitted. Ignored for weights that carry one, and for 3-D encoders.
        seed: seed of the random initialisation.

    Raises:
        BraindinoError: no encoder of that name, or the file is broken, needs unpickling, or does not fit.
    """
    if spec.startswith(UNTRAINED_PREFIX):
        return _untrained(spec, contract, seed)
    path = Path(spec)
    if spec.partition(":")[0] in VOLUMES and ":" in spec:
        return load_volume_encoder(spec, seed)
    if spec == "scratch" or spec.startswith("scratch:"):
        return _from_scratch(spec.partition(":")[2] or "vit_base_patch16_dinov3", contract, seed)
    if (path / CONFIG_FILE).is_file():
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
        f"encoder {spec!r} is not a folder with {CONFIG_FILE}, a run folder, a file "
        f"({', '.join(WEIGHT_SUFFIXES)}), `scratch`, `untrained:ENCODER`, a timm name, `hub:<timm name>`, "
        f"or FILE after one of <timm name>, {', '.join(VOLUMES)} and a colon.\n"
        "Make one with `braindino export RUN --out encoder`."
    )


def read_pretraining_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    """Read a `.ckpt` of DINO pretraining.

    Args:
        path: path of the file.

    Returns:
        The description of the encoder, the weights of the teacher's backbone, and the whole content.

    Raises:
        BraindinoError: the file is damaged, or not a checkpoint of DINO pretraining.
    """
    content = read_file(path)
    described = content.get("encoder")
    if not isinstance(described, dict) or "state_dict" not in content:
        raise BraindinoError(
            f"{path}: not a checkpoint of `braindino fit` (no entry 'encoder').\n"
            f"Weights of DINOv3 or BrainDINO are read from {', '.join(WEIGHT_SUFFIXES[1:])} files."
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
        model = create_vit(architecture, **_any_size_args(architecture))
    encoder = ViTEncoder(model, contract or Preprocessing(), architecture, _any_size_args(architecture))
    encoder.seen = Seen()
    return encoder


def _untrained(spec: str, contract: Preprocessing | None, seed: int) -> Encoder:
    """Return the network that `untrained:SPEC` names, with random weights."""
    twin = load_encoder(spec.removeprefix(UNTRAINED_PREFIX), contract, seed).untrained(seed)
    if twin is None:
        raise BraindinoError(f"encoder {spec!r}: this kind of encoder has no untrained twin.")
    twin.seen = Seen()
    return twin


def encoder_label(spec: str) -> str:
    """Return a name of folders and columns for an encoder: the last part of the path in `spec`."""
    untrained, rest = spec.startswith(UNTRAINED_PREFIX), spec.removeprefix(UNTRAINED_PREFIX)
    name = Path(os.path.abspath(rest)).name.replace(":", "-")  # noqa: PTH100  # `..` by its name
    return f"untrained-{name}" if untrained else name


def _any_size_args(architecture: str) -> dict[str, Any]:
    """Return timm's arguments by which a ViT takes slices of any size; DINOv3's need none."""
    return {} if "dinov3" in architecture else {"dynamic_img_size": True}


def _build(
    described: Mapping[str, Any], weights: Mapping[str, Tensor], source: str, description: str
) -> ViTEncoder:
    """Build an encoder from its description.

    Args:
        described: see `_Described`.
        weights: tensors by timm's names.
        source: file of the weights, for messages.
        description: file of the description, for messages.
    """
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
    described, weights, content = read_pretraining_checkpoint(path)
    encoder = _build(described, weights, str(path), str(path))
    encoder.seen = Seen.of_checkpoint(content)
    return encoder


def _from_export(folder: Path) -> ViTEncoder:
    config = read_json(folder / CONFIG_FILE, dict[str, Any])
    for entry in ("braindino", "architecture", "model_args"):
        if entry not in config:
            raise BraindinoError(
                f"{folder / CONFIG_FILE}: no entry {entry!r}: not a folder made by `braindino export`."
            )
    check_shape(config, _Config, folder / CONFIG_FILE)
    extra = config["braindino"]
    arguments = dict(config["model_args"])
    if NORM_EPS in extra:
        arguments[NORM_EPS] = extra[NORM_EPS]
    described = {
        "architecture": config["architecture"],
        "model_args": arguments,
        "preprocessing": extra["preprocessing"],
    }
    weights = folder / WEIGHTS_FILE
    encoder = _build(described, read_file(weights), str(weights), str(folder / CONFIG_FILE))
    people = folder / PEOPLE_FILE
    if people.is_file():
        encoder.seen = Seen.read(people)
    return encoder


def _from_weights(path: Path, contract: Preprocessing | None) -> ViTEncoder:
    weights = vit_weights(state_dict_of(read_file(path), str(path)), str(path))
    architecture, arguments, weights = identify_dinov3(weights, str(path))
    model = create_vit(architecture, **arguments)
    fit_weights(model, weights, str(path))
    return ViTEncoder(model, contract or Preprocessing(), architecture, arguments)


def _from_timm_file(spec: str, contract: Preprocessing | None) -> ViTEncoder:
    """Return a ViT from a file in timm's layout, or in one that timm converts, such as DINOv2's."""
    name, _, file = spec.partition(":")
    if not Path(file).is_file():
        raise BraindinoError(f"encoder {spec!r}: no file {file}; `scratch:{name}` has random weights.")
    content = state_dict_of(read_file(Path(file)), file)
    if any(key.endswith("cls_token") for key in content):
        content = vit_weights(content, file)
    # timm's conversion drops biases and periods without a message
    if "dinov3" in name and is_dinov3(content):
        return _named_dinov3(name, content, file, contract)
    kernel = content.get("patch_embed.proj.weight")
    arguments = _any_size_args(name)
    if kernel is not None and kernel.shape[1] != 3:
        arguments["in_chans"] = kernel.shape[1]
    model = create_vit(name, **arguments)
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    try:
        weights = content if convert is None else convert(content, model)
    except (KeyError, RuntimeError, ValueError, AttributeError, TypeError) as error:
        raise BraindinoError(
            f"{file}: holds no weights of {name} ({error}; found {first_names(list(content))})."
        ) from error
    expected = model.state_dict().keys()
    weights = {k: v for k, v in weights.items() if k in expected or not k.startswith(_UNUSED)}
    fit_weights(model, weights, file)
    return ViTEncoder(model, contract or Preprocessing(), name, arguments)


def _named_dinov3(
    name: str, content: dict[str, Tensor], file: str, contract: Preprocessing | None
) -> ViTEncoder:
    """Return a file in DINOv3's names as architecture `name`, with the file's positions."""
    weights = rename(content, file)
    heads = create_vit(name, depth=1).blocks[0].attn.num_heads  # type: ignore[index, union-attr]
    arguments = dinov3_model_args(content, weights, file, int(heads))
    model = create_vit(name, **arguments)
    expected = model.state_dict().keys()
    weights = {k: v for k, v in weights.items() if k in expected or not k.endswith("_bias") or bool(v.any())}
    fit_weights(model, weights, file)
    return ViTEncoder(model, contract or Preprocessing(), name, arguments)


def _from_timm(spec: str, contract: Preprocessing | None) -> ViTEncoder:
    name = spec.removeprefix(HUB)
    arguments = _any_size_args(name)
    return ViTEncoder(published_vit(spec, arguments), contract or Preprocessing(), name, arguments)
