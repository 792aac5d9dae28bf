"""Stochastic depth of a frozen encoder, active while a head is trained, as in BrainDINO's released code."""

from timm.layers import DropPath
from torch import nn

from braindino.encoders.base import Encoder


def drop_paths(encoder: Encoder, rate: float) -> list[nn.Module]:
    """Put stochastic depth into the blocks of a ViT; return its modules, which act while in training mode.

    Args:
        encoder: whose weights stay as they are.
        rate: at the last block, rising linearly from 0 at the first.

    Returns:
        The modules, in evaluation mode; none where the network has no blocks with residual branches.
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
