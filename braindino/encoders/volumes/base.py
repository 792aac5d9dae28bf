"""VolumeEncoder: a frozen network that turns a whole prepared scan into one vector."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, NoReturn, Self

import torch
from torch import Tensor, nn

from braindino.encoders.base import Encoder
from braindino.encoders.weight_files import first_names, state_dict_of
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing


class VolumeEncoder(Encoder):
    """Encode whole scans by a 3-D network.

    A subclass names the network, reads its sizes from a published checkpoint and builds it.

    Args:
        shape: sizes of the network, a frozen dataclass whose defaults are the published ones.
        preprocessing: the contract that the weights were trained under.
        embed_dim: number of features of a scan.

    Attributes:
        shape: sizes of the network.
        network: the network that `build` returns.
        published: file name of the authors' checkpoint, for messages.
    """

    dimensions = 3
    patch_size = None
    published: ClassVar[str]

    def __init__(self, shape: Any, preprocessing: Preprocessing, embed_dim: int) -> None:
        super().__init__()
        self.shape = shape
        self.preprocessing = preprocessing
        self.embed_dim = embed_dim
        self.network = self.build(shape)
        self.freeze()

    @staticmethod
    @abstractmethod
    def build(shape: Any) -> nn.Module:
        """Return the network of these sizes with random weights."""

    @classmethod
    @abstractmethod
    def from_checkpoint(cls, content: Mapping[str, Any] | None, source: str) -> Self:
        """Return the encoder of a published checkpoint.

        Args:
            content: content of the file; None gives random weights.
            source: the file, for messages.

        Raises:
            BraindinoError: the content has no such network; the message lists the keys that differ.
        """

    @abstractmethod
    def forward(self, slices: Tensor, modalities: Sequence[str] = ()) -> Tensor:
        """Return the features of each scan.

        Args:
            slices: whole scans, normalised by the contract (N, 1, D, H, W).
            modalities: sequence of each scan, by the manifest's names; a network that treats them alike
                ignores them.

        Returns:
            Features (N, embed_dim).
        """

    def patch_maps(self, slices: Tensor, blocks: Sequence[int]) -> NoReturn:
        """Raise BraindinoError, as 3-D encoders offer no maps."""
        raise BraindinoError(
            f"{type(self).__name__} is a 3-D encoder: maps and segmentation over its tokens are not offered."
            "\nUse a 2-D encoder, or fine-tune SwinUNETR (`braindino fit --config brats_swinunetr.yaml`)."
        )

    def description(self) -> dict[str, Any]:
        """Return the sizes of the network."""
        return {"shape": asdict(self.shape)}

    def untrained(self, seed: int = 0) -> "VolumeEncoder":
        """Return the same network and contract with random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            twin = type(self)(self.shape)  # type: ignore[call-arg]  # subclasses take the shape alone
        twin.preprocessing = self.preprocessing
        return twin


def weights_under(
    content: Mapping[str, Any], prefixes: Sequence[str], source: str, what: str
) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint under the first prefix that occurs, without the prefix.

    Args:
        content: content of the file, see `weight_files.state_dict_of`.
        prefixes: beginnings of keys, in order of preference.
        source: the file, for messages.
        what: the network, for messages.

    Raises:
        BraindinoError: no key begins with any of the prefixes.
    """
    tensors = state_dict_of(content, source)
    for prefix in prefixes:
        weights = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if weights:
            return weights
    raise BraindinoError(
        f"{source}: no {what} inside: no key begins with {' or '.join(map(repr, prefixes))} "
        f"(found {first_names(list(tensors))})."
    )


def complete_cross_attention(weights: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return `weights` with all parameters of cross-attention that `network` has.

    MONAI's transformer block has a cross-attention that no ViT here runs, and whose keys differ between
    releases. A parameter that `weights` lacks, or has in another shape, becomes 0 (in a norm: its initial
    value), because random values would change the encoder's digest at every load.

    Args:
        weights: weights of a checkpoint.
        network: network that takes the weights.
    """
    completed = {key: value for key, value in weights.items() if "cross_attn" not in key}
    for key, value in network.state_dict().items():
        if "cross_attn" in key:
            default = value if "norm" in key else torch.zeros_like(value)
            given = weights.get(key, default)
            completed[key] = given if given.shape == value.shape else default
    return completed


def count_modules(weights: Mapping[str, Tensor], stem: str) -> int:
    """Return the number of numbered modules `<stem>0.`, `<stem>1.`, ... in the keys."""
    numbers = {int(k[len(stem) :].split(".")[0]) for k in weights if k.startswith(stem)}
    return 1 + max(numbers, default=-1)


def require_keys(weights: Mapping[str, Tensor], keys: Sequence[str], source: str, what: str) -> None:
    """Raise BraindinoError for a checkpoint without the keys that show the sizes of the network.

    Args:
        weights: weights of the checkpoint.
        keys: keys that it must have.
        source: the file, for messages.
        what: the network, for messages.
    """
    missing = [key for key in keys if key not in weights]
    if missing:
        raise BraindinoError(
            f"{source}: not the weights of {what}: {', '.join(missing[:4])} "
            f"{'is' if len(missing) == 1 else 'are'} missing."
        )
