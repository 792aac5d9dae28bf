"""A tiny ViT and a tiny contract, so that encoder tests take milliseconds."""

from typing import Any

import pytest
import torch

from braindino.encoders.vit import ViTEncoder
from braindino.scans.contract import Preprocessing
from tests.helpers.tiny_vit import checkpoint_of, tiny_encoder


@pytest.fixture
def contract() -> Preprocessing:
    return Preprocessing(depth=8, size=(32, 32))


@pytest.fixture
def encoder(contract: Preprocessing) -> ViTEncoder:
    torch.manual_seed(0)  # for what a test draws
    return tiny_encoder(contract)


@pytest.fixture
def slices() -> torch.Tensor:
    return torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def checkpoint(encoder: ViTEncoder) -> dict[str, Any]:
    """Return a checkpoint of `braindino fit`, without the parts that an encoder does not use."""
    people = ["ADNI:002_S_0001", "IXI:17"]
    content = checkpoint_of(encoder, global_step=7, pretraining_people=people)
    content["state_dict"]["teacher.dino_head.last.weight"] = torch.zeros(4, 4)
    return content
