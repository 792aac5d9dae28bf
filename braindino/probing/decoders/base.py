"""Base class of all decoders: which blocks of the encoder they read, and how slices are enlarged."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from braindino.encoders.base import Encoder
from braindino.errors import BraindinoError
from braindino.probing.heads.base import OptimizerDefaults

LEVELS = 4
# Initialisation of decoder and head; part of the identity of a study, whose early versions used torch's.
INITIALISATION = "he"
# Slope of the leaky ReLU that the deviation of the weights is computed for.
SLOPE = 1e-2
# Slices are enlarged until the shorter side has as many patches, but not more than so many times.
MIN_TOKENS, MAX_ENLARGEMENT = 28, 4.0
# Share of the steps in which the learning rate of a decoder rises.
WARMUP = 0.05
# Slices per forward of the encoder in the loop.
MAX_SLICES = 64


class Decoder(nn.Module, ABC):
    """Turn the patch tokens of slices, and in some decoders their pixels, into maps of the slices.

    The encoder encodes every modality of every slice by itself, so that the tokens depend on nothing that is
    trained and can be cached; a subclass fuses them.

    Args:
        image_size: rows and columns that slices are enlarged to before the encoder; None does not enlarge.
        neighbours: slices on each side whose tokens (and pixels) are decoded together with a slice's own.
        use_tokens: false sets all tokens to zero: the control that shows what they contribute.

    Attributes:
        name: the value of `SegmentationHead.decoder` that chooses it.
        optimizer_defaults: settings of the optimiser.
        enlarges: whether slices are enlarged by default; see `default_image_size`.
        reads_pixels: whether the maps depend on the pixels, beside the tokens.
        reads_tokens: whether the maps depend on the tokens; if not, the encoder is not run.
        reads_coordinates: whether the maps depend on the place in the slice, beside the tokens.
        shares_fusion: whether modalities are fused by trained weights before the encoder.
        has_coarse_maps: whether `levels` returns coarser maps for deep supervision.
        returns_logits: whether the maps are the logits of the outputs; if not, the head computes them from
            the maps by a 1 x 1 convolution.
        outputs: logits per pixel; set before `build`, and read only by decoders that return logits.
        blocks: numbers of the decoded blocks, from 0; set by `build`, like all that follow.
        modalities: scans per case.
        patch_size: side of a patch [pixels].
        in_chans: input channels of the encoder.
        token_channels: C, features of a token over all decoded blocks.
        stack: K x M, images that are decoded together.
        doublings: how often sides are doubled until they have a point per pixel of the slice.
        level_widths: channels of the maps that `levels` returns, finest first.
    """

    name: str
    optimizer_defaults = OptimizerDefaults(lr=1e-3, weight_decay=0.01, decay=True, warmup=WARMUP)
    enlarges = True
    reads_pixels = False
    reads_tokens = True
    reads_coordinates = True
    shares_fusion = False
    has_coarse_maps = False
    returns_logits = False
    outputs: int
    blocks: list[int]
    modalities: int
    patch_size: int
    in_chans: int
    token_channels: int
    stack: int
    doublings: int
    level_widths: list[int]

    def __init__(
        self, image_size: Sequence[int] | None = None, neighbours: int = 0, use_tokens: bool = True
    ) -> None:
        super().__init__()
        self.image_size = None if image_size is None else (int(image_size[0]), int(image_size[1]))
        self.neighbours, self.use_tokens = neighbours, use_tokens

    def build(
        self,
        embed_dim: int,
        modalities: int,
        blocks: int,
        patch_size: int,
        in_chans: int,
        size: Sequence[int] | None = None,
    ) -> int:
        """Initialise the parameters; return the channels of the finest maps.

        Args:
            embed_dim: features per token of the encoder.
            modalities: scans per case.
            blocks: blocks of the encoder.
            patch_size: side of a patch [pixels].
            in_chans: input channels of the encoder.
            size: rows and columns of the prepared slices; None in files of version 0.1, which had only the
                decoder `paper`.
        """
        self.blocks = self.choose_blocks(blocks) if self.reads_tokens else []
        self.modalities, self.patch_size, self.in_chans = modalities, patch_size, in_chans
        self.token_channels = len(self.blocks) * embed_dim
        self.stack = (2 * self.neighbours + 1) * modalities
        stride = float(patch_size)
        if self.image_size is not None and size is not None:
            stride *= max(size[0] / self.image_size[0], size[1] / self.image_size[1])
        self.doublings = max(math.ceil(math.log2(stride) - 1e-6), 1)
        self.level_widths = self.make()
        return self.level_widths[0]

    def choose_blocks(self, blocks: int) -> list[int]:
        """Return the numbers of the decoded blocks of an encoder with `blocks` blocks."""
        return decoded_blocks(blocks)

    @abstractmethod
    def make(self) -> list[int]:
        """Initialise the parameters, by the attributes that `build` has set.

        Returns:
            The channels of the maps of `levels`.
        """

    @abstractmethod
    def levels(self, tokens: Tensor, images: Tensor, present: Tensor) -> list[Tensor]:
        """Return maps (B, width, H, W) of the slices, then coarser ones for deep supervision.

        Args:
            tokens: standardised tokens, as `tokens` returns them.
            images: (B, K, M, H, W) pixels [z-scores]; K = 2 `neighbours` + 1, the slice itself in the middle.
            present: (B, M), whether a modality is present.
        """

    def forward(self, tokens: Tensor, images: Tensor, present: Tensor) -> Tensor:
        """Return the finest maps of `levels`, (B, width, H, W)."""
        return self.levels(tokens, images, present)[0]

    def tokens(
        self, encoder: Encoder, images: Tensor, present: Tensor, planes: Tensor | None = None
    ) -> Tensor:
        """Return the tokens of all modalities and neighbours, (B, K, M, C, h, w), rounded to float16.

        C = levels x D. Rounding makes tokens from a cache equal to computed ones. The tokens of a missing
        modality are 0. Gradients are computed, and nothing is rounded, if the encoder is trained.

        Args:
            encoder: the encoder.
            images: (B, K, M, H, W) pixels [z-scores].
            present: (B, M), whether a modality is present.
            planes: (B, K) numbers of the slices; equal numbers are the same slice, which is encoded once.
        """
        if not (self.reads_tokens and self.use_tokens):
            return self.no_tokens(images)
        learning = torch.is_grad_enabled() and any(p.requires_grad for p in encoder.parameters())
        batch, neighbours, modalities = images.shape[:3]
        if planes is None:
            planes = torch.arange(batch * neighbours, device=images.device)
        _, where = torch.unique(planes.flatten(), return_inverse=True)
        count = int(where.max()) + 1
        # The position of one slice of each number.
        first = torch.empty(count, dtype=torch.long, device=where.device)
        first[where] = torch.arange(len(where), device=where.device)
        wanted = present.repeat_interleave(neighbours, dim=0)[first]
        slices = images.flatten(0, 1)[first]
        with torch.set_grad_enabled(learning):
            encoded = [
                self.encode(encoder, part) for part in torch.split(slices[wanted].unsqueeze(1), MAX_SLICES)
            ]
            values = torch.cat(encoded)
            values = values if learning else values.half().to(images.dtype)
            maps = values.new_zeros(count, modalities, *values.shape[1:])
            maps[wanted] = values
        return maps[where].reshape(batch, neighbours, *maps.shape[1:])

    def no_tokens(self, images: Tensor) -> Tensor:
        """Return zeros in the shape of the tokens, (B, K, M, C, h, w)."""
        rows, columns = self.image_size or images.shape[-2:]
        grid = (self.token_channels, rows // self.patch_size, columns // self.patch_size)
        return images.new_zeros(*images.shape[:3], *grid)

    def encode(self, encoder: Encoder, slices: Tensor) -> Tensor:
        """Return the normed patch tokens of all levels, (N, levels x D, h, w), of slices (N, 1, H, W)."""
        return torch.cat(encoder.patch_maps(self.enlarge(slices), self.blocks), dim=1)

    def enlarge(self, slices: Tensor) -> Tensor:
        """Return slices (N, C, H, W) in `image_size`, by bilinear interpolation."""
        if self.image_size is None or slices.shape[-2:] == self.image_size:
            return slices
        return functional.interpolate(slices, self.image_size, mode="bilinear", align_corners=False)


def default_image_size(size: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """Return rows and columns that give at least `MIN_TOKENS` patches on the shorter side.

    Both are multiples of the patch; slices grow at most `MAX_ENLARGEMENT` times, and never shrink.

    Args:
        size: rows and columns of the prepared slices.
        patch_size: side of a patch [pixels].
    """
    factor = min(max(MIN_TOKENS * patch_size / min(size), 1.0), MAX_ENLARGEMENT)
    rows, columns = (max(round(side * factor / patch_size), 1) * patch_size for side in size)
    return rows, columns


def image_size_of(
    given: int | Sequence[int] | None, size: tuple[int, int], patch_size: int
) -> tuple[int, int]:
    """Return rows and columns that slices are enlarged to, as `model.head.init_args.image_size` requests.

    Args:
        given: rows and columns; or the longer side, the other one in proportion; None for the default.
        size: rows and columns of the prepared slices.
        patch_size: side of a patch [pixels].

    Raises:
        BraindinoError: a side is no multiple of the patch, or smaller than that of the slices.
    """
    if given is None:
        return default_image_size(size, patch_size)
    if isinstance(given, int):
        sides = [max(round(side * given / max(size) / patch_size), 1) * patch_size for side in size]
        sides[int(size[1] > size[0])] = given
    else:
        sides = [int(side) for side in given]
    if len(sides) != 2 or any(side % patch_size or side < 1 for side in sides):
        raise BraindinoError(
            f"model.head.init_args.image_size {given}: expected one number or two (rows, columns), multiples "
            f"of the patch of {patch_size} pixels."
        )
    if sides[0] < size[0] or sides[1] < size[1]:
        raise BraindinoError(
            f"model.head.init_args.image_size {given}: smaller than the prepared slices of {size[0]} x "
            f"{size[1]}; slices are only enlarged.\n"
            "Prepare a store with smaller slices instead."
        )
    return sides[0], sides[1]


def initialise(module: nn.Module) -> None:
    """Draw the weights of a convolution from He's normal distribution, and set its bias to 0.

    As in BrainDINO's released code the distribution is for leaky ReLU with slope 0.01 (nnU-Net); the default
    of torch has a deviation 2.4 times smaller.

    Args:
        module: any module; other layers are not changed.
    """
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.kaiming_normal_(module.weight, a=SLOPE)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def decoded_blocks(blocks: int) -> list[int]:
    """Return the numbers of the four decoded blocks, from 0, at even distances to the last."""
    return sorted({max((k + 1) * blocks // LEVELS - 1, 0) for k in range(LEVELS)})


def coordinates(maps: Tensor) -> Tensor:
    """Return the rows and columns, from -1 to 1, of the points of maps (B, C, h, w), as (B, 2, h, w)."""
    rows, columns = (
        torch.linspace(-1, 1, side, device=maps.device, dtype=maps.dtype) for side in maps.shape[-2:]
    )
    return torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(len(maps), -1, -1, -1)


def flatten_present(values: Tensor, present: Tensor) -> Tensor:
    """Return values (B, K, M, C, h, w) of all slices as channels, (B, K x M x C, h, w).

    A missing modality is 0, and the present ones have accordingly more weight.

    Args:
        values: maps of each modality.
        present: (B, M), whether a modality is present.
    """
    weight = present.to(values.dtype)
    weight = weight / weight.mean(dim=1, keepdim=True)
    return (values * weight[:, None, :, None, None, None]).flatten(1, 3)


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps (B, C, h, w) resized by bilinear interpolation to `size` (H, W)."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return functional.interpolate(maps, (size[0], size[1]), mode="bilinear", align_corners=False)
