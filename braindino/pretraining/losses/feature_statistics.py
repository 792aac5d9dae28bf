"""Entropy of the targets, and spread and effective rank of the features, of one batch."""

import torch
from torch import Tensor
from torch.nn import functional as F


def rankme(features: Tensor) -> Tensor:
    """Return the effective rank: exp of the entropy of singular values (Garrido et al. 2023).

    Args:
        features: (N, D).

    Returns:
        A scalar; NaN if the features are not finite.
    """
    finite = features.isfinite().all()  # a singular value decomposition of NaN raises
    values = torch.linalg.svdvals(features.float().nan_to_num(0.0, 0.0, 0.0))
    share = values / values.sum().clamp(min=1e-12) + 1e-7
    return torch.where(finite, (-(share * share.log()).sum()).exp(), torch.nan)


@torch.no_grad()
def feature_statistics(cls: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Return scalars that describe the teacher's outputs.

    Args:
        cls: (N, D) CLS tokens.
        targets: (N, K) probabilities.

    Returns:
        `teacher_entropy`: mean entropy of a target in nats (ln K when it is uniform). `feature_std`: mean
        over dimensions of the standard deviation over samples, of features scaled to length sqrt(D), so that
        isotropic features give 1 and a collapse 0. `rankme`: effective rank of the centred features.
    """
    with torch.autocast(cls.device.type, enabled=False):
        cls = cls.float()
        unit = F.normalize(cls, dim=-1) * cls.shape[-1] ** 0.5
        return {
            "teacher_entropy": -torch.special.xlogy(targets, targets).sum(dim=-1).mean(),
            "feature_std": unit.std(dim=0).mean(),
            "rankme": rankme(cls - cls.mean(dim=0)),
        }
