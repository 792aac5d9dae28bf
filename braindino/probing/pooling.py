"""From the features of a case's slices to one vector: pooling over slices, then fusion of modalities."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from braindino.encoders.cache import Level
from braindino.errors import BraindinoError
from braindino.identity import stable_id

Fusion = Literal["mean", "concat", "attention"]
FUSIONS = ("mean", "concat", "attention")


class Pooling(nn.Module, ABC):
    """Slices of one scan to a vector (what a subclass says), then the scans of a case to one (`fusion`).

    Args:
        fusion: "mean" over the modalities that are there (BrainDINO, Methods); "concat", where a learnt
            vector, 0 at first, stands for a missing one; "attention", gated, over those that are there.
        patches: take the mean of a slice's patch tokens beside its CLS token: twice the width.

    Attributes:
        trains_on_slices: whether pooling over slices has parameters; if not, it is done once, before
            training.
    """

    trains_on_slices: bool

    def __init__(self, fusion: Fusion = "mean", patches: bool = False) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise BraindinoError(f"fusion {fusion!r}: expected {', '.join(FUSIONS)}.")
        self.fusion, self.patches = fusion, patches

    @property
    def level(self) -> Level:
        """What of a slice is wanted from the encoder (see `FeatureCache`)."""
        return "slice_patch" if self.patches else "slice"

    def build(self, embed_dim: int, modalities: int) -> int:
        """Make the parameters anew for `embed_dim` features per slice; returns the width of the result."""
        if self.fusion == "attention":
            self.weigh = GatedAttention(embed_dim)
        if self.fusion == "concat":
            self.absent = nn.Parameter(torch.zeros(modalities, embed_dim))
            return modalities * embed_dim
        return embed_dim

    @abstractmethod
    def pool_slices(self, features: Tensor, mask: Tensor) -> Tensor:
        """(..., D, dim) with `mask` (..., D), True where a slice is there -> (..., dim); 0 where none is."""

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, M, D, dim) and the mask (B, M, D) of slices that are there -> (B, width)."""
        scans = self.pool_slices(features, mask)
        present = mask.any(dim=-1)
        if self.fusion == "mean":
            return masked_mean(scans, present)
        if self.fusion == "attention":
            return self.weigh(scans, present)
        return torch.where(present.unsqueeze(-1), scans, self.absent).flatten(1)


@stable_id("MeanPooling")
class MeanPooling(Pooling):
    """The mean over slices (BrainDINO, Methods)."""

    trains_on_slices = False

    def pool_slices(self, features: Tensor, mask: Tensor) -> Tensor:
        """Mean over the slices that are there."""
        return masked_mean(features, mask)


@stable_id("GatedAttentionPooling")
class GatedAttentionPooling(Pooling):
    """A learnt weighted mean over slices (Ilse et al. 2018, "Attention-based deep MIL", eq. 9).

    Args:
        hidden: width of the two branches that score a slice.
        fusion, patches: see `Pooling`.
    """

    trains_on_slices = True

    def __init__(self, hidden: int = 128, fusion: Fusion = "mean", patches: bool = False) -> None:
        super().__init__(fusion, patches)
        self.hidden = hidden

    def build(self, embed_dim: int, modalities: int) -> int:
        """Make the parameters anew; returns the width of the result."""
        self.attend = GatedAttention(embed_dim, self.hidden)
        return super().build(embed_dim, modalities)

    def pool_slices(self, features: Tensor, mask: Tensor) -> Tensor:
        """Weighted mean over the slices that are there."""
        return self.attend(features, mask)


class GatedAttention(nn.Module):
    """Weights w_k proportional to exp(w . (tanh(V x_k) * sigmoid(U x_k))) over the items that are there."""

    def __init__(self, width: int, hidden: int = 128) -> None:
        super().__init__()
        self.content = nn.Linear(width, hidden)
        self.gate = nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, items: Tensor, mask: Tensor) -> Tensor:
        """(..., K, width) with `mask` (..., K) -> (..., width); 0 where the mask is empty."""
        gated = torch.tanh(self.content(items)) * torch.sigmoid(self.gate(items))
        score = self.score(gated).squeeze(-1).masked_fill(~mask, torch.finfo(items.dtype).min)
        weight = score.softmax(dim=-1) * mask  # an empty mask gives equal weights: the product makes them 0
        return torch.einsum("...k,...kd->...d", weight, items)


def masked_mean(items: Tensor, mask: Tensor) -> Tensor:
    """Mean of (..., K, dim) over the K where `mask` (..., K) is True; 0 where it is empty."""
    total = (items * mask.unsqueeze(-1)).sum(dim=-2)
    return total / mask.sum(dim=-1, keepdim=True).clamp(min=1)
