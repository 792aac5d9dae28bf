"""A DINOv3 ViT of timm's that is small enough for tests: 2 blocks of width 48.

Attributes:
    NAME: timm's name of the architecture.
    SCRATCH: the architecture with random weights, as an encoder is named in a config.
    MODEL_ARGS: sizes of the tiny ViT, on top of `NAME`.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from braindino.encoders.export import export_encoder
from braindino.encoders.vit import ViTEncoder, create_vit
from braindino.scans.contract import Preprocessing

NAME = "vit_tiny_patch16_dinov3_qkvb"
SCRATCH = f"scratch:{NAME}"
MODEL_ARGS: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 2, "patch_size": 8, "in_chans": 1}


def tiny_vit(seed: int = 0, **changes: Any) -> nn.Module:
    """Return a ViT with random weights; the random state of torch does not change.

    Args:
        seed: seed of the weights.
        **changes: arguments that differ from `MODEL_ARGS`, or are added.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return create_vit(NAME, **{**MODEL_ARGS, **changes})


def tiny_encoder(contract: Preprocessing, seed: int = 0, **changes: Any) -> ViTEncoder:
    """Return the ViT of `tiny_vit` as an encoder for slices of a contract."""
    return ViTEncoder(tiny_vit(seed, **changes), contract, NAME, {**MODEL_ARGS, **changes})


def checkpoint_of(encoder: ViTEncoder, **content: Any) -> dict[str, Any]:
    """Return the part of a checkpoint of `braindino fit` that describes its encoder.

    Args:
        encoder: the encoder.
        **content: further entries of the checkpoint.
    """
    return {
        "state_dict": {f"teacher.backbone.{key}": value for key, value in encoder.model.state_dict().items()},
        "encoder": {**encoder.description(), "preprocessing": encoder.preprocessing.to_dict()},
        "global_step": 1,
        **content,
    }


def export_tiny(folder: Path, contract: Preprocessing, seed: int = 0, **changes: Any) -> Path:
    """Export the encoder of `tiny_encoder` to `folder / "encoder"` and return that folder."""
    checkpoint = folder / "step0000001.ckpt"
    torch.save(checkpoint_of(tiny_encoder(contract, seed, **changes)), checkpoint)
    export_encoder(checkpoint, folder / "encoder")
    return folder / "encoder"
