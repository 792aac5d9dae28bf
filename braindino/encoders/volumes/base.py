"""What every 3-D encoder is: a frozen network that turns a whole prepared scan into one vector."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar, NoReturn, Self

import torch
from torch import Tensor, nn

from braindino.encoders.base import Encoder
from braindino.encoders.weight_files import some, state_dict_of
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing


class VolumeEncoder(Encoder):
    """A 3-D network behind the `Encoder` interface: (N, 1, D, H, W) -> (N, embed_dim).

    A subclass names the network, tells its sizes from a published checkpoint and builds it. `shape` is a
    frozen dataclass of those sizes; its defaults are the published ones.

    Attributes:
        published: how the checkpoint of the authors is called, for messages.
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
        """The network of these sizes, randomly initialised."""

    @classmethod
    @abstractmethod
    def of(cls, content: Mapping[str, Any] | None, source: str) -> Self:
        """The encoder of a published checkpoint's content, or of None one with random weights.

        Raises:
            BraindinoError: the content holds no such network; the message lists the keys that differ.
        """

    @abstractmethod
    def forward(self, slices: Tensor, modalities: Sequence[str] = ()) -> Tensor:
        """Features of each volume: (N, 1, D, H, W) normalised by the contract -> (N, embed_dim).

        Args:
            slices: whole prepared scans.
            modalities: what the manifest calls the sequence of each; a network that treats them alike does
                not look at it.
        """

    def patch_maps(self, slices: Tensor, blocks: Sequence[int]) -> NoReturn:
        """Not given by any 3-D encoder: always a BraindinoError."""
        raise BraindinoError(
            f"{type(self).__name__} is a 3-D encoder: maps and segmentation over its tokens are not offered."
            "\nUse a 2-D encoder, or fine-tune SwinUNETR (`braindino fit --config brats_swinunetr.yaml`)."
        )

    def description(self) -> dict[str, Any]:
        """The sizes of the network."""
        return {"shape": asdict(self.shape)}

    def untrained(self, seed: int = 0) -> "VolumeEncoder":
        """The same network and contract with random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            twin = type(self)(self.shape)  # type: ignore[call-arg]  # subclasses know the rest
        twin.preprocessing = self.preprocessing
        return twin


def weights_of(
    content: Mapping[str, Any], prefixes: Sequence[str], source: str, what: str
) -> dict[str, Tensor]:
    """The tensors of a checkpoint under the first of `prefixes` that occurs, without it.

    Args:
        content: of the file, see `weight_files.state_dict_of`.
        prefixes: in the order in which they are looked for.
        source: the file, for messages.
        what: the network, for messages.

    Raises:
        BraindinoError: no key begins with any of the prefixes.
    """
    tensors = state_dict_of(content, source)
    for prefix in prefixes:
        found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if found:
            return found
    raise BraindinoError(
        f"{source}: no {what} inside: no key begins with {' or '.join(map(repr, prefixes))} "
        f"(found {some(list(tensors))})."
    )


def own_cross_attention(weights: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """`weights`, with the cross-attention that `network` has: theirs where it fits, else 0.

    MONAI's transformer block holds one that no ViT here ever runs, and its keys differ between releases. Left
    to chance it would give the encoder another digest at each reading.
    """
    kept = {key: value for key, value in weights.items() if "cross_attn" not in key}
    for key, value in network.state_dict().items():
        if "cross_attn" in key:
            plain = value if "norm" in key else torch.zeros_like(value)  # norms start equal everywhere
            theirs = weights.get(key, plain)
            kept[key] = theirs if theirs.shape == value.shape else plain
    return kept


def count(weights: Mapping[str, Tensor], stem: str) -> int:
    """How many numbered modules `<stem>0.`, `<stem>1.`, ... the keys name."""
    numbers = {int(k[len(stem) :].split(".")[0]) for k in weights if k.startswith(stem)}
    return 1 + max(numbers, default=-1)


def require(weights: Mapping[str, Tensor], keys: Sequence[str], source: str, what: str) -> None:
    """Refuse a checkpoint that lacks one of `keys`, from which the sizes of the network are read."""
    missing = [key for key in keys if key not in weights]
    if missing:
        raise BraindinoError(
            f"{source}: not the weights of {what}: {', '.join(missing[:4])} "
            f"{'is' if len(missing) == 1 else 'are'} missing."
        )
