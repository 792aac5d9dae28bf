"""Pooling of the slices of each scan, and fusion of the scans of a case, to one vector."""

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
    """Pool the slices of each scan to a vector, then fuse the scans of a case.

    Args:
        fusion: "mean" over the modalities that a case has (BrainDINO, Methods); "concat", with a learnt
            vector, initially 0, for a missing modality; "attention", gated, over those that a case has.
        patches: concatenate the mean of a slice's patch tokens to its CLS token, which doubles the width.

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
        """Return the kind of features that is extracted from a slice; see `FeatureCache`."""
        return "slice_patch" if self.patches else "slice"

    def build(self, embed_dim: int, modalities: int) -> int:
        """Initialise the parameters; return the width of the pooled vector.

        Args:
            embed_dim: features per slice.
            modalities: scans per case.
        """
        if self.fusion == "attention":
            self.weigh = GatedAttention(embed_dim)
        if self.fusion == "concat":
            self.absent = nn.Parameter(torch.zeros(modalities, embed_dim))
            return modalities * embed_dim
        return embed_dim

    @abstractmethod
    def pool_slices(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the pooled features (..., dim); 0 for a scan without slices.

        Args:
            features: (..., D, dim).
            mask: (..., D), True where a slice is present.
        """

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return vectors (B, width) of features (B, M, D, dim) and the slice mask (B, M, D)."""
        scans = self.pool_slices(features, mask)
        present = mask.any(dim=-1)
        if self.fusion == "mean":
            return masked_mean(scans, present)
        if self.fusion == "attention":
            weighted: Tensor = self.weigh(scans, present)
            return weighted
        return torch.where(present.unsqueeze(-1), scans, self.absent).flatten(1)


@stable_id("MeanPooling")
class MeanPooling(Pooling):
    """Average the slices (BrainDINO, Methods)."""

    trains_on_slices = False

    def pool_slices(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the present slices."""
        return masked_mean(features, mask)


@stable_id("GatedAttentionPooling")
class GatedAttentionPooling(Pooling):
    """Average slices with learnt weights (Ilse et al. 2018, "Attention-based deep MIL", eq. 9).

    Args:
        hidden: width of the two branches that score a slice.
        fusion: see `Pooling`.
        patches: see `Pooling`.
    """

    trains_on_slices = True

    def __init__(self, hidden: int = 128, fusion: Fusion = "mean", patches: bool = False) -> None:
        super().__init__(fusion, patches)
        self.hidden = hidden

    def build(self, embed_dim: int, modalities: int) -> int:
        """Initialise the parameters; return the width of the pooled vector."""
        self.attend = GatedAttention(embed_dim, self.hidden)
        return super().build(embed_dim, modalities)

    def pool_slices(self, features: Tensor, mask: Tensor) -> Tensor:
        """Return the weighted mean over the present slices."""
        pooled: Tensor = self.attend(features, mask)
        return pooled


class GatedAttention(nn.Module):
    """Average items with weights proportional to exp(w . (tanh(V x_k) * sigmoid(U x_k))).

    Args:
        width: features of an item.
        hidden: rows of V and U.
    """

    def __init__(self, width: int, hidden: int = 128) -> None:
        super().__init__()
        self.content = nn.Linear(width, hidden)
        self.gate = nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, items: Tensor, mask: Tensor) -> Tensor:
        """Return the weighted mean over K of items (..., K, width) where `mask` (..., K) is True."""
        gated = torch.tanh(self.content(items)) * torch.sigmoid(self.gate(items))
        score = self.score(gated).squeeze(-1).masked_fill(~mask, torch.finfo(items.dtype).min)
        # An empty mask gives equal weights; the product makes them 0.
        weight = score.softmax(dim=-1) * mask
        return torch.einsum("...k,...kd->...d", weight, items)


def masked_mean(items: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over K of items (..., K, dim) where `mask` (..., K) is True, else 0."""
    total = (items * mask.unsqueeze(-1)).sum(dim=-2)
    return total / mask.sum(dim=-1, keepdim=True).clamp(min=1)
