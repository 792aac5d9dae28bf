"""Encoder: a frozen network together with the preprocessing it was trained under."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from braindino.files import digest_of_json
from braindino.identity import id_of
from braindino.scans.contract import Preprocessing
from braindino.scans.seen import Seen


class Encoder(nn.Module, ABC):
    """A frozen network that turns prepared slices into features.

    Attributes:
        dimensions: 2 when each slice is encoded by itself, 3 when a whole scan is (`VolumeEncoder`).
        preprocessing: the input contract; a store prepared with a different contract is refused.
        embed_dim: number of features per slice, or per scan.
        patch_size: side of a patch in pixels, or None if the network has no patches.
        blocks: number of blocks that `patch_maps` can return; 0 if the network has none.
        in_chans: channels that the network takes; a grey slice is repeated to fill them.
        seen: people and scans seen in training, or None if that is not recorded.
    """

    dimensions: int = 2
    preprocessing: Preprocessing
    embed_dim: int
    patch_size: int | None
    blocks: int = 0
    in_chans: int = 1
    seen: Seen | None = None

    @property
    def pretraining_people(self) -> frozenset[str] | None:
        """Return the keys of the people in `seen`, or their digests; None if not recorded."""
        return None if self.seen is None else self.seen.people

    @abstractmethod
    def forward(self, slices: Tensor) -> Tensor:
        """Return the features of each slice.

        Args:
            slices: normalised by the contract (N, 1, H, W).

        Returns:
            Features (N, embed_dim).
        """

    @abstractmethod
    def patch_maps(self, slices: Tensor, blocks: Sequence[int]) -> list[Tensor]:
        """Return the patch tokens after each of some blocks, after the last norm.

        Args:
            slices: normalised by the contract (N, 1, H, W), or with all `in_chans` channels (N, C, H, W),
                each another modality or a mixture of several.
            blocks: numbers from 0; -1 is the last.

        Returns:
            A map (N, embed_dim, h, w) for each block.
        """

    def with_mean_patch(self, slices: Tensor) -> Tensor:
        """Return the features and the mean of the patch tokens side by side.

        Args:
            slices: normalised by the contract (N, 1, H, W).

        Returns:
            Features (N, 2 * embed_dim).
        """
        patches = self.patch_maps(slices, [-1])[0]
        return torch.cat([self(slices), patches.flatten(2).mean(dim=2)], dim=1)

    def untrained(self, seed: int = 0) -> "Encoder | None":
        """Return the same network and contract with random weights, or None if that cannot be built."""
        return None

    def freeze(self) -> "Encoder":
        """Switch to evaluation mode without gradients, and return the encoder."""
        self.eval()
        self.requires_grad_(False)
        return self

    def description(self) -> dict[str, Any]:
        """Return architecture and arguments, which the weights do not show, as plain JSON values."""
        return {}

    @cached_property
    def digest(self) -> str:
        """Return the hex SHA-256 of weights, architecture and contract: the key of cached features."""
        made_of = {"preprocessing": self.preprocessing.to_dict(), "architecture": self.description()}
        return digest_of_weights(self.state_dict(), f"{id_of(type(self))}:{digest_of_json(made_of)}")


def digest_of_weights(weights: Mapping[str, Tensor], prefix: str = "") -> str:
    """Return the hex SHA-256 of a prefix and of names, types, shapes and values of tensors.

    Args:
        weights: tensors by name; their order does not matter.
        prefix: text that is hashed first.
    """
    sha = hashlib.sha256(prefix.encode())
    for name, tensor in sorted(weights.items()):
        values = tensor.detach().cpu().contiguous()
        sha.update(f"{name}:{values.dtype}:{tuple(values.shape)}".encode())
        sha.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()
