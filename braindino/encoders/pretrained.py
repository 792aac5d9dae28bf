"""Weights that timm publishes: out of the local cache, and fetched only where `hub:` asks for it."""

from pathlib import Path
from typing import Any

import timm
import torch
from huggingface_hub import try_to_load_from_cache
from timm.models import get_pretrained_cfg
from torch import nn

from braindino.errors import BraindinoError
from braindino.network import check_network

HUB = "hub:"
FILES = ("model.safetensors", "pytorch_model.bin")


def published_vit(spec: str, model_args: dict[str, Any]) -> nn.Module:
    """A timm network with its published weights.

    Args:
        spec: a timm name, whose weights must be in the model hub's cache here; after `hub:` they are
            fetched if they are not.
        model_args: passed to timm.

    Raises:
        BraindinoError: the weights are not there, or cannot be fetched or loaded.
    """
    name = spec.removeprefix(HUB)
    if not timm.is_model(name):
        raise BraindinoError(f"{spec}: timm {timm.__version__} knows no model {name!r}.")
    file = cached_weights(name)
    if file is None and not spec.startswith(HUB):
        raise BraindinoError(
            f"timm's weights of {name!r} are not on this machine, and nothing is fetched unless asked.\n"
            f"`{HUB}{name}` fetches them once; `scratch:{name}` has random weights; a file goes by its path."
        )
    overlay: dict[str, Any] = {}
    if file is None:
        check_network(spec)
    else:
        overlay = {"pretrained_cfg_overlay": {"file": str(file), "custom_load": file.suffix == ".npz"}}
    try:
        return timm.create_model(
            name, pretrained=True, num_classes=0, global_pool="token", **overlay, **model_args
        )
    except Exception as error:  # timm and its hub client raise anything from OSError to RuntimeError here
        raise BraindinoError(
            f"timm's weights of {name!r} could not be loaded ({str(error).splitlines()[0]}).\n"
            f"Download the file and give its path, or use `scratch:{name}` for a random initialisation."
        ) from error


def cached_weights(name: str) -> Path | None:
    """The file of a timm model's published weights on this machine, or None; asks nobody else."""
    known = get_pretrained_cfg(name)
    if known is None:
        return None
    if known.hf_hub_id:
        repository, _, revision = known.hf_hub_id.partition("@")
        for file in (known.hf_hub_filename, *FILES):
            found = try_to_load_from_cache(repository, file, revision=revision or None) if file else None
            if isinstance(found, str):
                return Path(found)
    if known.url:
        file_there = Path(torch.hub.get_dir()) / "checkpoints" / Path(known.url).name
        return file_there if file_there.is_file() else None
    return None
