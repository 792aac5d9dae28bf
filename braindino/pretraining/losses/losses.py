"""Losses of self-distillation, in float32: DINO on crops, iBOT on patches, KoLeo and Gram."""

import torch
from torch import Tensor
from torch.nn import functional as F

from braindino.pretraining.distributed import gather_rows, rank
from braindino.pretraining.losses.cross_entropy import prototype_cross_entropy
from braindino.pretraining.losses.sinkhorn import Targets
from braindino.pretraining.views.views import GLOBAL_CROPS


def dino_loss(
    points: Tensor, prototypes: Tensor, targets: Targets, temperature: float, local_weight: float = 1.0
) -> Tensor:
    """Return the DINO loss: each crop predicts the teacher's view of the slice's other crops.

    DINOv2, section 4. The mean over the pairs of different global crops and the mean over all (local, global)
    pairs, weighted by the number of such pairs: 2/18 and 16/18 with 2 global and 8 local crops. The loss is
    linear in a target, so each crop is compared once, with the mean of its targets.

    Args:
        points: (2 + L, B, D) unit vectors of the student: those of the two global crops, then of L >= 0 local
            ones.
        prototypes: (K, D).
        targets: targets of the 2 B global crops, crop by crop.
        temperature: temperature of the student, 0.1.
        local_weight: factor of the local part; 1 in stage 1, 0.5 in stage 2 (DINOv3's reweighting).
    """
    crops, slices = points.shape[:2]
    locals_ = crops - GLOBAL_CROPS
    pairs = GLOBAL_CROPS * (GLOBAL_CROPS - 1 + locals_)
    # A crop's factor is the number of teacher crops it is compared with, over all pairs of all slices.
    of_global, of_local = (GLOBAL_CROPS - 1) / pairs, GLOBAL_CROPS * local_weight / pairs
    weights = points.new_full((crops, slices), of_global / slices, dtype=torch.float32)
    weights[GLOBAL_CROPS:] = of_local / slices

    def of_crops(rows: slice) -> list[Tensor]:
        first, second = (targets.rows(slice(rows.start + i, rows.stop + i)) for i in (0, slices))
        if not locals_:
            return [second, first]
        return [second, first, *[(first + second).mul_(0.5)] * locals_]

    return prototype_cross_entropy(points, prototypes, of_crops, weights, temperature)


def ibot_loss(
    points: Tensor, prototypes: Tensor, targets: Targets, weights: Tensor, images: int, temperature: float
) -> Tensor:
    """Return the iBOT loss: the student predicts the teacher's tokens of masked patches.

    Zhou et al. 2022, with the weights of DINOv2.

    Args:
        points: (n, D) unit vectors of the student at the masked patches of all global crops, and nothing
            else.
        prototypes: (K, D).
        targets: targets of the same patches.
        weights: (n,) 1 / (number of masked patches in that crop).
        images: number of global crops, unmasked ones included (2 B).
        temperature: temperature of the student, 0.1.
    """

    def of_patches(rows: slice) -> list[Tensor]:
        return [targets.rows(rows)]

    of_all = (weights / images)[None]
    return prototype_cross_entropy(points[None], prototypes, of_patches, of_all, temperature)


def koleo_loss(features: Tensor, over_processes: bool = False) -> Tensor:
    """Return KoLeo: -mean log distance to the nearest neighbour on the sphere.

    Sablayrolles et al. 2019, "Spreading vectors for similarity search".

    Args:
        features: (B, D) CLS tokens of one global crop, before the head. Computed in float32 whatever their
            precision.
        over_processes: search the neighbour among the samples of all processes (stage 2) instead of this
            one's.

    Returns:
        A scalar; 0 when there is no second sample.
    """
    with torch.autocast(features.device.type, enabled=False):
        points = F.normalize(features.float(), dim=-1, eps=1e-8)
        candidates = gather_rows(points) if over_processes else points
        if candidates.shape[0] < 2:
            return points.sum() * 0.0
        with torch.no_grad():
            similarity = points @ candidates.T
            rows = torch.arange(len(points), device=points.device)
            # No point is its own neighbour.
            similarity[rows, rows + (rank() * len(points) if over_processes else 0)] = -2.0
            nearest = similarity.argmax(dim=1)
        distance: Tensor = torch.linalg.vector_norm(points - candidates[nearest], dim=-1)
        return -(distance + 1e-8).log().mean()


def gram_loss(student: Tensor, reference: Tensor) -> Tensor:
    """Return the mean squared difference of patch similarities, per image.

    Gram anchoring (DINOv3, section 4.2).

    Args:
        student: (B, N, D) patch tokens after the final norm.
        reference: (B, N, D') those of the frozen Gram teacher, resized to the student's grid.
    """
    with torch.autocast(student.device.type, enabled=False):
        tokens = F.normalize(student.float(), dim=-1)
        anchor = F.normalize(reference.float(), dim=-1)
        return F.mse_loss(tokens @ tokens.mT, anchor @ anchor.mT)
