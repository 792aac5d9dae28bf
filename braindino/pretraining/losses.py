"""The losses of self-distillation, in float32: DINO on crops, iBOT on masked patches, KoLeo and Gram."""

import torch
from torch import Tensor
from torch.nn import functional as F

from braindino.pretraining.cross_entropy import soft_cross_entropy
from braindino.pretraining.distributed import gather_rows, rank


def dino_global_targets(targets: Tensor) -> Tensor:
    """For each global crop the mean target of the slice's other ones: (G, B, K) -> (G, B, K), G >= 2."""
    crops = targets.shape[0]
    if crops == 2:
        return targets.flip(0)
    return (targets.sum(dim=0, keepdim=True) - targets) / (crops - 1)


def dino_loss(
    student_global: Tensor,
    student_local: Tensor,
    targets: Tensor,
    temperature: float,
    local_weight: float = 1.0,
) -> Tensor:
    """DINO: every student crop predicts the teacher's view of the slice's other crops (DINOv2, section 4).

    The mean over the pairs of different global crops and the mean over all (local, global) pairs, weighted by
    the number of such pairs: 2/18 and 16/18 with 2 global and 8 local crops.

    Args:
        student_global: (G, B, K) logits. student_local: (L, B, K) logits, L may be 0.
        targets: (G, B, K) centred teacher probabilities.
        temperature: of the student, 0.1.
        local_weight: factor of the local part; 1 in stage 1, 0.5 in stage 2 (DINOv3's reweighting).
    """
    crops, locals_ = targets.shape[0], student_local.shape[0]
    pairs = crops * (crops - 1) + crops * locals_
    loss = targets.new_zeros(())
    if crops > 1:
        part = soft_cross_entropy(student_global, dino_global_targets(targets), temperature).mean()
        loss = loss + crops * (crops - 1) / pairs * part
    if locals_:
        part = soft_cross_entropy(student_local, targets.mean(dim=0), temperature).mean()
        loss = loss + local_weight * crops * locals_ / pairs * part
    return loss


def ibot_loss(logits: Tensor, targets: Tensor, weights: Tensor, images: int, temperature: float) -> Tensor:
    """iBOT: the student predicts the teacher's token at masked patches (Zhou et al. 2022, weights of DINOv2).

    Args:
        logits, targets: (n, K) at the masked patches of all global crops, and nothing else.
        weights: (n,) 1 / (number of masked patches in that crop).
        images: number of global crops, unmasked ones included (2 B).
    """
    return (soft_cross_entropy(logits, targets, temperature) * weights).sum() / images


def koleo_loss(features: Tensor, over_processes: bool = False) -> Tensor:
    """KoLeo: -mean log distance to the nearest neighbour on the sphere (Sablayrolles et al. 2019).

    Args:
        features: (B, D) CLS tokens of one global crop, before the head. Computed in float32 whatever comes
            in.
        over_processes: seek the neighbour among the samples of all processes (stage 2) instead of this one's.

    Returns:
        A scalar; 0 when there is no second sample.
    """
    with torch.autocast(features.device.type, enabled=False):
        points = F.normalize(features.float(), dim=-1, eps=1e-8)
        others = gather_rows(points) if over_processes else points
        if others.shape[0] < 2:
            return points.sum() * 0.0
        with torch.no_grad():
            similarity = points @ others.T
            own = torch.arange(len(points), device=points.device)
            similarity[own, own + (rank() * len(points) if over_processes else 0)] = -2.0
            nearest = similarity.argmax(dim=1)
        distance = torch.linalg.vector_norm(points - others[nearest], dim=-1)
        return -(distance + 1e-8).log().mean()


def gram_loss(student: Tensor, reference: Tensor) -> Tensor:
    """Gram anchoring (DINOv3, section 4.2): mean squared difference of the patch similarities, per image.

    Args:
        student, reference: (B, N, D) and (B, N, D') patch tokens after the final norm; `reference` is the
            frozen Gram teacher's, resized to the student's grid.
    """
    with torch.autocast(student.device.type, enabled=False):
        own = F.normalize(student.float(), dim=-1)
        anchor = F.normalize(reference.float(), dim=-1)
        return F.mse_loss(own @ own.mT, anchor @ anchor.mT)
