"""What every encoder is: a frozen network together with the preprocessing it was made for."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from braindino.files import digest_of_json
from braindino.scans.preprocessing import Preprocessing


class Encoder(nn.Module, ABC):
    """A frozen network that turns prepared slices into features.

    Attributes:
        preprocessing: the input contract; scans and stores prepared otherwise are refused.
        embed_dim: number of features per slice.
        patch_size: side of a patch in pixels, or None if the network has no patches.
        pretraining_people: `"<dataset>:<person>"` of everyone seen in pretraining, or None if not recorded.
    """

    preprocessing: Preprocessing
    embed_dim: int
    patch_size: int | None
    pretraining_people: frozenset[str] | None = None

    @abstractmethod
    def forward(self, slices: Tensor) -> Tensor:
        """Features of each slice: (N, 1, H, W) normalised by the contract -> (N, embed_dim)."""

    @abstractmethod
    def patch_maps(self, slices: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """Normed patch tokens after each of `blocks` (from 0): (N, 1, H, W) -> [(N, embed_dim, h, w)]."""

    def freeze(self) -> "Encoder":
        """Evaluation mode, no gradients; returns itself."""
        self.eval()
        self.requires_grad_(False)
        return self

    def description(self) -> dict[str, Any]:
        """What the weights do not tell of the function: architecture and its arguments, as JSON has it."""
        return {}

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of weights, architecture and contract: features kept under it can never be stale."""
        made_of = {"preprocessing": self.preprocessing.to_dict(), "architecture": self.description()}
        sha = hashlib.sha256(f"{type(self).__name__}:{digest_of_json(made_of)}".encode())
        for name, tensor in sorted(self.state_dict().items()):
            values = tensor.detach().cpu().contiguous()
            sha.update(f"{name}:{values.dtype}:{tuple(values.shape)}".encode())
            sha.update(values.reshape(-1).view(torch.uint8).numpy().data)
        return sha.hexdigest()
