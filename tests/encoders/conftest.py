"""A tiny ViT and a tiny contract, so that encoder tests take milliseconds."""

from typing import Any

import pytest
import torch

from braindino.encoders.vit import ViTEncoder, create_vit
from braindino.scans.contract import Preprocessing

ARCHITECTURE = "vit_tiny_patch16_dinov3_qkvb"
MODEL_ARGS: dict[str, Any] = {"embed_dim": 48, "depth": 2, "num_heads": 2, "patch_size": 8, "in_chans": 1}


@pytest.fixture
def contract() -> Preprocessing:
    return Preprocessing(depth=8, size=(32, 32))


@pytest.fixture
def encoder(contract: Preprocessing) -> ViTEncoder:
    torch.manual_seed(0)
    return ViTEncoder(create_vit(ARCHITECTURE, **MODEL_ARGS), contract, ARCHITECTURE, MODEL_ARGS)


@pytest.fixture
def slices() -> torch.Tensor:
    return torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def checkpoint(encoder: ViTEncoder) -> dict[str, Any]:
    """What a checkpoint of `braindino fit` holds, as far as an encoder is concerned."""
    weights = {f"teacher.backbone.{k}": v for k, v in encoder.model.state_dict().items()}
    return {
        "state_dict": {**weights, "teacher.dino_head.last.weight": torch.zeros(4, 4)},
        "global_step": 7,
        "encoder": {
            "architecture": ARCHITECTURE,
            "model_args": MODEL_ARGS,
            "preprocessing": encoder.preprocessing.to_dict(),
        },
        "pretraining_people": ["ADNI:002_S_0001", "IXI:17"],
    }
