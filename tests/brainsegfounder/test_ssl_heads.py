"""Shapes and reach of the pretraining heads."""

import torch

from braindino.brainsegfounder.ssl_heads import SSLHeads


def test_ssl_heads_decode_crops_from_a_map_of_one_voxel() -> None:
    heads = SSLHeads(192, 2)
    for side in (1, 2):
        turns, features, crops = heads(torch.randn(3, 192, side, side, side))
        assert turns.shape == (3, 4)
        assert features.shape == (3, 512)
        assert crops.shape == (3, 2, 32 * side, 32 * side, 32 * side)
        assert crops.std() > 0


def test_ssl_heads_all_have_a_gradient_to_the_map() -> None:
    heads = SSLHeads(48, 1)
    deepest = torch.randn(2, 48, 1, 1, 1, requires_grad=True)
    for output in heads(deepest):
        (gradient,) = torch.autograd.grad(output.square().sum(), deepest, retain_graph=True)
        assert gradient.abs().sum() > 0
