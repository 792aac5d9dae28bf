"""The frozen teacher of Gram anchoring: patch features of a larger crop on the student's grid."""

import torch
from timm.models.eva import Eva
from torch import Tensor
from torch.nn import functional as F

from braindino.errors import BraindinoError
from braindino.pretraining.config import GramConfig
from braindino.pretraining.model.network import Trunk
from braindino.pretraining.views.views import ViewsConfig


class GramTeacher(Trunk):
    """An earlier teacher's backbone, never changed: not by the optimiser, nor by the moving average.

    It is part of the module's state, so that a run continues without the file it came from. That makes a
    checkpoint of a ViT-B with 65,536 prototypes larger by a sixth.
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
        """Patch tokens after the final norm, resized to `grid`: (N, 1, S, S) -> (N, rows * columns, D).

        Bicubic without antialiasing (DINOv3, section 5.1), in float32; not yet normalised.
        """
        _, patches = self.tokens(crops)
        own = self.grid(crops)
        if own == grid:
            return patches.float()
        with torch.autocast(crops.device.type, enabled=False):
            maps = patches.float().mT.unflatten(2, own)
            return F.interpolate(maps, grid, mode="bicubic").flatten(2).mT


def check_gram(gram: GramConfig, views: ViewsConfig, init_from: str | None) -> None:
    """Raises BraindinoError unless Gram anchoring has all that it needs, or nothing of it is asked for."""
    if gram.weight and (views.gram_size is None or (gram.teacher or init_from) is None):
        raise BraindinoError(
            "model.gram: Gram anchoring needs a trained teacher and the size at which it looks.\n"
            "Set model.init_from (or model.gram.teacher) and model.views.gram_size."
        )
    if not gram.weight and (views.gram_size is not None or gram.teacher is not None):
        raise BraindinoError(
            "model.gram.weight is 0, so model.views.gram_size and model.gram.teacher would do nothing.\n"
            "Set it (1.5 in stage 2), or remove them."
        )
