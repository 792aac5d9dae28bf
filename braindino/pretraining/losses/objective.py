"""Losses of one batch of views: teacher targets, student predictions, and measurements."""

import math

import torch
from torch import Tensor

from braindino.pretraining.config import LossConfig
from braindino.pretraining.losses.feature_statistics import feature_statistics
from braindino.pretraining.losses.losses import dino_loss, gram_loss, ibot_loss, koleo_loss
from braindino.pretraining.losses.sinkhorn import sinkhorn_knopp
from braindino.pretraining.model.gram import GramTeacher
from braindino.pretraining.model.network import Student, Teacher
from braindino.pretraining.views.masking import Masks
from braindino.pretraining.views.views import GLOBAL_CROPS, Views


def distil(
    student: Student,
    teacher: Teacher,
    views: Views,
    masks: Masks,
    config: LossConfig,
    temperature: float,
    sinkhorn_iterations: int,
    generator: torch.Generator,
    measure: bool = False,
    gram: tuple[GramTeacher, float] | None = None,
) -> dict[str, Tensor]:
    """Return DINO, iBOT, KoLeo and Gram of the student on B slices, and their weighted sum.

    The teacher sees the global crops whole; the student sees them masked, and the local crops whole.

    Args:
        student: the network that is trained.
        teacher: moving average of the student.
        views: views of the B slices.
        masks: masks of the 2 B global crops, crop by crop.
        config: weights of the losses.
        temperature: temperature of the teacher's targets.
        sinkhorn_iterations: iterations of the centring.
        generator: stochastic depth and RoPE changes of the student.
        measure: add the teacher's entropy, the features' spread and rank, and the KL divergence of DINO.
        gram: the Gram teacher and the weight of its loss; `views` must have Gram crops then.

    Returns:
        Scalars; "loss", the sum, and "dino", "ibot", "koleo" and "gram" carry gradients.
    """
    slices = views.global_crops.shape[1]
    images = views.global_crops.flatten(0, 1)
    cls, logits, hidden_logits = teacher(images, masks.indices)
    dino_targets = sinkhorn_knopp(logits, temperature, sinkhorn_iterations)
    ibot_targets = sinkhorn_knopp(hidden_logits, temperature, sinkhorn_iterations)
    gram_teacher = None if gram is None else gram[0]
    student_cls, points, hidden_points, anchored = _predict(student, views, masks, generator, gram_teacher)

    sharpness = config.student_temperature
    prototypes, hidden_prototypes = student.prototype_weights()
    dino = dino_loss(points, prototypes, dino_targets, sharpness, config.local_weight)
    ibot = ibot_loss(hidden_points, hidden_prototypes, ibot_targets, masks.weights, len(images), sharpness)
    crops = torch.unflatten(student_cls, 0, (GLOBAL_CROPS, slices))
    koleo = torch.stack([koleo_loss(crop, config.koleo_over_processes) for crop in crops]).sum()
    values = {
        "loss": config.dino * dino + config.ibot * ibot + config.koleo * koleo,
        "dino": dino,
        "ibot": ibot,
        "koleo": koleo,
        "dino_over_lnk": dino.detach() / math.log(len(prototypes)),
    }
    if gram is not None and anchored is not None:
        values["loss"] = values["loss"] + gram[1] * anchored
        values["gram"] = anchored
    if measure:
        values |= feature_statistics(cls, dino_targets.rows(slice(None)))
        values["dino_kl"] = dino.detach() - values["teacher_entropy"]
    return values


def _predict(
    student: Student,
    views: Views,
    masks: Masks,
    generator: torch.Generator,
    gram_teacher: GramTeacher | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Run the student.

    Returns:
        CLS tokens of the global crops (2 B, D), unit vectors of all crops (2 + L, B, bottleneck) and of the
        masked patches (n, bottleneck), and the Gram loss if there is a Gram teacher.
    """
    images, local_images = views.global_crops.flatten(0, 1), views.local_crops.flatten(0, 1)
    # Gram anchoring compares every patch of the masked forward pass, so the last block computes them all.
    wanted = masks.indices if gram_teacher is None else None
    cls, hidden, local_cls = student(images, masks.mask, wanted, local_images, generator)
    anchored = None
    if gram_teacher is not None:
        assert views.gram_crops is not None
        reference = gram_teacher(views.gram_crops.flatten(0, 1), student.grid(images))
        anchored = gram_loss(hidden, reference)
        hidden = hidden.flatten(0, 1)[masks.indices]
    projected = student.dino_head.project(torch.cat([cls, local_cls]))
    points = torch.unflatten(projected, 0, (-1, views.global_crops.shape[1]))
    return cls, points, student.ibot_head.project(hidden), anchored
