"""Heads: the sizes, the sphere, and where prototypes start."""

import pytest
import torch
from torch import nn

from braindino.pretraining.model.heads import HeadConfig, ProjectionHead


def test_layers_and_sizes_are_the_published_ones() -> None:
    head = ProjectionHead(768, HeadConfig(prototypes=100))
    shapes = [tuple(m.weight.shape) for m in head.modules() if isinstance(m, nn.Linear)]
    assert shapes == [(2048, 768), (2048, 2048), (256, 2048), (100, 256)]
    assert head.prototypes.bias is None


def test_logits_are_products_of_unit_vectors_with_prototypes() -> None:
    head = ProjectionHead(12, HeadConfig(8, 16, 4))
    tokens = torch.randn(2, 3, 12)
    projected = head.project(tokens)
    torch.testing.assert_close(projected.norm(dim=-1), torch.ones(2, 3))
    torch.testing.assert_close(head(tokens), projected @ head.prototypes.weight.T)


def test_prototypes_start_with_the_length_asked_for() -> None:
    weight = ProjectionHead(12, HeadConfig(2000, 16, 64, prototype_norm=0.7)).prototypes.weight
    assert weight.norm(dim=1).mean().item() == pytest.approx(0.7, rel=0.02)
