"""Projection heads: sizes, unit vectors, and length of the prototypes at the start."""

import pytest
import torch
from torch import nn

from braindino.pretraining.model.heads import DINOHead, HeadConfig


def test_dino_head_has_the_published_layers_and_sizes() -> None:
    head = DINOHead(768, HeadConfig(prototypes=100))
    shapes = [tuple(m.weight.shape) for m in head.modules() if isinstance(m, nn.Linear)]
    assert shapes == [(2048, 768), (2048, 2048), (256, 2048), (100, 256)]
    assert head.prototypes.bias is None


def test_dino_head_logits_are_products_of_unit_vectors_with_prototypes() -> None:
    head = DINOHead(12, HeadConfig(8, 16, 4))
    tokens = torch.randn(2, 3, 12)
    projected = head.project(tokens)
    torch.testing.assert_close(projected.norm(dim=-1), torch.ones(2, 3))
    torch.testing.assert_close(head(tokens), projected @ head.prototypes.weight.T)


def test_dino_head_prototypes_start_with_the_configured_length() -> None:
    weight = DINOHead(12, HeadConfig(2000, 16, 64, prototype_norm=0.7)).prototypes.weight
    assert weight.norm(dim=1).mean().item() == pytest.approx(0.7, rel=0.02)
