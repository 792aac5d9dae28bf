"""Load weights that timm publishes from the local cache, or fetch them for `hub:` names."""

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
    """Return a timm network with its published weights.

    Args:
        spec: a timm name, whose weights must be in the model hub's cache here; after `hub:` they are
            fetched if they are not.
        model_args: passed to timm.

    Raises:
        BraindinoError: the weights are not on this machine, or cannot be fetched or loaded.
    """
    name = spec.removeprefix(HUB)
    if not timm.is_model(name):
        raise BraindinoError(f"{spec}: timm {timm.__version__} has no model {name!r}.")
    file = cached_weights(name)
    if file is None and not spec.startswith(HUB):
        raise BraindinoError(
            f"timm's weights of {name!r} are not on this machine, and are fetched on request only.\n"
            f"`{HUB}{name}` fetches them once; `scratch:{name}` has random weights; a file goes by its path."
        )
    overlay: dict[str, Any] = {}
    if file is None:
        check_network(spec)
    else:
        overlay = {"pretrained_cfg_overlay": {"file": str(file), "custom_load": file.suffix == ".npz"}}
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=True, num_classes=0, global_pool="token", **overlay, **model_args
        )
    # timm and its hub client raise anything from OSError to RuntimeError.
    except Exception as error:
        raise BraindinoError(
            f"timm's weights of {name!r} could not be loaded ({str(error).splitlines()[0]}).\n"
            f"Download the file and give its path, or use `scratch:{name}` for a random initialisation."
        ) from error
    return model


def cached_weights(name: str) -> Path | None:
    """Return the locally cached weights of a timm model, or None.

    Args:
        name: a timm name.
    """
    config = get_pretrained_cfg(name)
    if config is None:
        return None
    if config.hf_hub_id:
        repository, _, revision = config.hf_hub_id.partition("@")
        for file in (config.hf_hub_filename, *FILES):
            cached = try_to_load_from_cache(repository, file, revision=revision or None) if file else None
            if isinstance(cached, str):
                return Path(cached)
    if config.url:
        cached_file = Path(torch.hub.get_dir()) / "checkpoints" / Path(config.url).name
        return cached_file if cached_file.is_file() else None
    return None
