"""Stochastic depth of a frozen encoder while a head is trained, as in BrainDINO's code."""

from timm.layers import DropPath
from torch import nn

from braindino.encoders.base import Encoder


def drop_paths(encoder: Encoder, rate: float) -> list[nn.Module]:
    """Add stochastic depth to the blocks of a ViT.

    Args:
        encoder: the encoder; its weights are not changed.
        rate: rate at the last block, rising linearly from 0 at the first.

    Returns:
        The added modules, in evaluation mode; they act in training mode. Empty if the network has no blocks
        with residual branches.
    """
    blocks = getattr(getattr(encoder, "model", None), "blocks", [])
    modules: list[nn.Module] = []
    for number, block in enumerate(blocks):
        for name in ("drop_path1", "drop_path2"):
            if hasattr(block, name) and number:
                drop = DropPath(rate * number / max(len(blocks) - 1, 1)).eval()
                setattr(block, name, drop)
                modules.append(drop)
    return modules
