"""BrainSegFounder's encoder: MONAI's 3-D Swin transformer (arXiv 2406.10395)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from braindino.encoders.modalities import brats_sequence
from braindino.encoders.volumes.base import VolumeEncoder, count_modules, require_keys, weights_under
from braindino.encoders.weight_files import fit_weights
from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.scans.contract import Preprocessing
from braindino.scans.seen import Seen

# Number of input channels -> their order in the authors' code: stage 1 (UK Biobank), the folds of BraTS.
CHANNELS = {2: ("t1", "flair"), 4: ("flair", "t1ce", "t1", "t2")}
STRIDE = 32  # sides of a voxel of the deepest map, in input voxels: patch 2, four mergings
# BrainSegFounder-Tiny, -Small and -Big: blocks per stage.
DEPTHS = {"tiny": (2, 2, 2, 2), "small": (2, 2, 6, 2), "big": (2, 2, 18, 2)}


@dataclass(frozen=True)
class SwinShape:
    """Sizes of the Swin transformer; the defaults are BrainSegFounder-Tiny's, stage 1.

    Attributes:
        side: side of the volume, in voxels.
        channels: sequence of each input channel.
        width: features of the first stage.
        depths: blocks per stage.
        heads: attention heads per stage.
        window: side of the attention windows.
        legacy_merging: merge patches as MONAI did before 1.6, which took two of the eight octants twice and
            two never. Published weights were trained so; without it they load by the same keys, but compute
            different features.
    """

    side: int = 128
    channels: tuple[str, ...] = ("t1", "flair")
    width: int = 48
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    heads: tuple[int, int, int, int] = (3, 6, 12, 24)
    window: int = 7
    legacy_merging: bool = True

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Return the sizes that a checkpoint has, with lists for tuples."""
        known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        return cls(**known)


class LegacyPatchMerging(nn.Module):
    """Merge patches as MONAI did before release 1.6.

    Octants (0,1,0) and (0,0,1) are taken twice, (1,1,0) and (0,1,1) never. Parameters are those of MONAI's
    module: `reduction` (2 dim, 8 dim), `norm` (8 dim).

    Args:
        dim: features of a patch.
        norm_layer: class of the norm of the merged features.
        spatial_dims: always 3; MONAI passes it.
    """

    OCTANTS = (
        (0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1),
    )  # fmt: skip

    def __init__(
        self, dim: int, norm_layer: type[nn.LayerNorm] = nn.LayerNorm, spatial_dims: int = 3
    ) -> None:
        super().__init__()
        if spatial_dims != 3:
            raise ValueError(f"legacy patch merging in {spatial_dims} dimensions: only volumes need it")
        self.reduction = nn.Linear(8 * dim, 2 * dim, bias=False)
        self.norm = norm_layer(8 * dim)

    def forward(self, x: Tensor) -> Tensor:
        """Merge (N, D, H, W, dim) into (N, D/2, H/2, W/2, 2 dim); odd lengths are padded with zeros."""
        odd = [length % 2 for length in x.shape[1:4]]
        x = nn.functional.pad(x, (0, 0, 0, odd[2], 0, odd[1], 0, odd[0]))
        x = torch.cat([x[:, i::2, j::2, k::2] for i, j, k in self.OCTANTS], dim=-1)
        merged: Tensor = self.reduction(self.norm(x))
        return merged


def swin(shape: SwinShape) -> nn.Module:
    """Return MONAI's Swin transformer of these sizes, with random weights.

    It turns volumes (N, channels, D, H, W) into five maps, each with half the sides of the one before.
    """
    from monai.networks.nets.swin_unetr import SwinTransformer

    network: nn.Module = SwinTransformer(
        in_chans=len(shape.channels),
        embed_dim=shape.width,
        window_size=(shape.window,) * 3,
        patch_size=(2, 2, 2),
        depths=shape.depths,
        num_heads=shape.heads,
        norm_layer=nn.LayerNorm,
        downsample=LegacyPatchMerging if shape.legacy_merging else "mergingv2",
    )
    return network


def channel_shares(modality: str, channels: Sequence[str]) -> tuple[float, ...]:
    """Return the share of a scan in each input channel of a network.

    A scan goes to the channel of its sequence; T1 with contrast goes to T1's if it has none; any other
    sequence, also an unknown one, is spread evenly over all channels. Because the patch embedding is linear
    this equals the mean of its kernels, by which BrainSegFounder's stage 2 and the segmentation inflate them.

    Args:
        modality: sequence of the scan, by the manifest's name.
        channels: sequence of each channel that the network was trained on.

    Returns:
        One share per channel; their sum is 1.
    """
    name = brats_sequence(modality)
    if name == "t1ce" and "t1ce" not in channels:
        name = "t1"
    if len(channels) == 1 or name not in channels:
        return (1 / len(channels),) * len(channels)
    return tuple(float(name == channel) for channel in channels)


@stable_id("SwinEncoder")
class SwinEncoder(VolumeEncoder):
    """Encode a scan as the mean over the deepest map of BrainSegFounder's encoder.

    The scan is in the channel of its sequence (`channel_shares`), the other channels are 0. Contract: voxels
    of 1 mm, the central 128^3, nonzero voxels z-scored, as in the authors' BraTS fine-tuning (their
    pretraining windows MRI as if it were CT).

    Args:
        shape: sizes of the Swin transformer.
        contract: contract of the weights; BrainSegFounder's if omitted.
    """

    published = "BrainSegFounder's model_bestValRMSE.pt, or a run of brainsegfounder_stage1.yaml"

    def __init__(self, shape: SwinShape | None = None, contract: Preprocessing | None = None) -> None:
        shape = shape or SwinShape()
        contract = contract or Preprocessing(
            slice_axes=(0, 1, 2),
            depth=shape.side,
            size=(shape.side,) * 2,
            spacing=1.0,
            centre="scan",
            dtype="float16",
        )
        super().__init__(shape, contract, 16 * shape.width)

    @staticmethod
    def build(shape: SwinShape) -> nn.Module:
        """Return MONAI's Swin transformer of these sizes, with random weights."""
        return swin(shape)

    @classmethod
    def from_checkpoint(cls, content: Mapping[str, Any] | None, source: str) -> Self:
        """Read `{"state_dict": {"module.swinViT.*", ...}}`, as the authors' code saves it.

        Checkpoints of `SwinSSLModule` are read as well; these contain shape and contract.
        """
        if content is None:
            return cls()
        described = content.get("encoder")
        if isinstance(described, Mapping) and described.get("architecture") == "swin":
            weights = weights_under(content, ("encoder.",), source, "Swin encoder")
            contract = Preprocessing.from_dict(described["preprocessing"])
            encoder = cls(SwinShape.from_dict(described["shape"]), contract)
            encoder.seen = Seen.of_checkpoint(content)
        else:
            weights = weights_under(content, ("swinViT.",), source, "Swin encoder of BrainSegFounder")
            encoder = cls(shape_of(weights, source))
        fit_weights(encoder.network, weights, source)
        return encoder

    def forward(self, slices: Tensor, modalities: Sequence[str] = ()) -> Tensor:
        """Return the features (N, 16 width) of scans (N, 1, D, H, W).

        Args:
            slices: whole scans, normalised by the contract.
            modalities: sequence of each scan; without them every scan is spread over all channels.
        """
        names = list(modalities) or [""] * len(slices)
        shares = slices.new_tensor([channel_shares(name, self.shape.channels) for name in names])
        deepest: Tensor = self.network(slices * shares[:, :, None, None, None])[-1]
        return deepest.mean(dim=(2, 3, 4))


def shape_of(weights: Mapping[str, Tensor], source: str) -> SwinShape:
    """Return the sizes of a Swin encoder, read from the shapes of its weights.

    Args:
        weights: tensors by the names of `swin`.
        source: the file, for messages.

    Raises:
        BraindinoError: keys are missing, or the channels are so many that their order is not known.
    """
    stems = [f"layers{stage}.0.blocks." for stage in range(1, 5)]
    tables = [f"{stem}0.attn.relative_position_bias_table" for stem in stems]
    require_keys(weights, ("patch_embed.proj.weight", *tables), source, "a Swin encoder")
    width, channels = weights["patch_embed.proj.weight"].shape[:2]
    if channels != 1 and channels not in CHANNELS:
        raise BraindinoError(
            f"{source}: a Swin encoder of {channels} channels; their order is known for 1, 2 and 4."
        )
    depths = [count_modules(weights, stem) for stem in stems]
    heads = [weights[table].shape[1] for table in tables]
    return SwinShape(
        channels=CHANNELS.get(channels, ("any",)),
        width=width,
        depths=(depths[0], depths[1], depths[2], depths[3]),
        heads=(heads[0], heads[1], heads[2], heads[3]),
        window=(round(weights[tables[0]].shape[0] ** (1 / 3)) + 1) // 2,
    )
