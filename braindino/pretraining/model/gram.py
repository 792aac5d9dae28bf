"""Frozen teacher of Gram anchoring: patch features of a larger crop on the student's grid."""

import torch
from timm.models.eva import Eva
from torch import Tensor
from torch.nn import functional as F

from braindino.errors import BraindinoError
from braindino.pretraining.config import GramConfig
from braindino.pretraining.model.network import Trunk
from braindino.pretraining.views.views import ViewsConfig


class GramTeacher(Trunk):
    """Backbone of an earlier teacher; neither the optimiser nor the moving average changes it.

    It is part of the module's state, so that a run continues without the file it came from. A
    checkpoint of a ViT-B with 65,536 prototypes is a sixth larger with it.

    Args:
        backbone: see `create_backbone`.
    """

    def __init__(self, backbone: Eva) -> None:
        super().__init__(backbone)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "GramTeacher":
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, crops: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return patch tokens after the final norm, resized to the student's grid.

        Bicubic without antialiasing (DINOv3, section 5.1), in float32; not yet normalised.

        Args:
            crops: (N, 1, S, S).
            grid: rows and columns of the student's patches.

        Returns:
            (N, rows * columns, D).
        """
        _, patches = self.tokens(crops)
        crop_grid = self.grid(crops)
        if crop_grid == grid:
            return patches.float()
        with torch.autocast(crops.device.type, enabled=False):
            maps = torch.unflatten(patches.float().mT, 2, crop_grid)
            return F.interpolate(maps, grid, mode="bicubic").flatten(2).mT


def check_gram(gram: GramConfig, views: ViewsConfig, init_from: str | None) -> None:
    """Raise BraindinoError if the settings of Gram anchoring are incomplete or without effect.

    Args:
        gram: weight and teacher.
        views: settings whose `gram_size` is the size that the teacher sees.
        init_from: start of the run, the teacher by default.
    """
    if gram.weight and (views.gram_size is None or (gram.teacher or init_from) is None):
        raise BraindinoError(
            "model.gram: Gram anchoring needs a trained teacher and the size of the crops that it sees.\n"
            "Set model.init_from (or model.gram.teacher) and model.views.gram_size."
        )
    if not gram.weight and (views.gram_size is not None or gram.teacher is not None):
        raise BraindinoError(
            "model.gram.weight is 0, so model.views.gram_size and model.gram.teacher would have no effect.\n"
            "Set it (1.5 in stage 2), or remove them."
        )
