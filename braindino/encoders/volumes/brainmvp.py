"""BrainMVP: a 3-D UniFormer-S pretrained across sequences (Rui et al., CVPR 2025)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from torch import Tensor, nn

from braindino.encoders.volumes.base import VolumeEncoder, count_modules, require_keys, weights_under
from braindino.encoders.volumes.uniformer import UniFormer, UniFormerShape
from braindino.encoders.weight_files import fit_weights
from braindino.errors import BraindinoError
from braindino.identity import stable_id
from braindino.scans.contract import Preprocessing


@stable_id("BrainMVPEncoder")
class BrainMVPEncoder(VolumeEncoder):
    """Encode a scan as the mean over the last stage's map, as BrainMVP's classifier does.

    Contract: voxels of 1 mm, 128^3 about the middle of the head, the 5th to 95th percentile scaled to 0-1.
    The network sees the axes from bottom to top, to the right, to the front: the authors load RAS and move
    the last axis first. They take the percentiles of all voxels of the head's bounding box, this project
    those of nonzero voxels.

    Args:
        shape: sizes of the network.
    """

    published = "BrainMVP_uniformer.pt"

    def __init__(self, shape: UniFormerShape | None = None) -> None:
        shape = shape or UniFormerShape()
        contract = Preprocessing(
            slice_axes=(2, 0, 1),
            clip=(5, 95),
            normalise="minmax",
            depth=shape.side,
            size=(shape.side,) * 2,
            spacing=1.0,
            dtype="float16",
        )
        super().__init__(shape, contract, shape.widths[3])

    @staticmethod
    def build(shape: UniFormerShape) -> nn.Module:
        """Return UniFormer of these sizes, with random weights."""
        return UniFormer(shape)

    @classmethod
    def from_checkpoint(cls, content: Mapping[str, Any] | None, source: str) -> Self:
        """Read `{"state_dict": {"module.encoder.uniformer.*", "module.decoder.*", ...}}`."""
        if content is None:
            return cls()
        weights = weights_under(
            content, ("encoder.uniformer.", "uniformer."), source, "UniFormer of BrainMVP"
        )
        stems = [f"patch_embed{stage}.proj.weight" for stage in range(1, 5)]
        require_keys(weights, (*stems, "blocks1.0.mlp.fc1.weight"), source, "BrainMVP's UniFormer")
        widths = [weights[stem].shape[0] for stem in stems]
        depths = [count_modules(weights, f"blocks{stage}.") for stage in range(1, 5)]
        channels = weights[stems[0]].shape[1]
        if channels != 1:
            raise BraindinoError(
                f"{source}: a UniFormer of {channels} input channels, fine-tuned on cases of as many scans.\n"
                f"Give the pretrained {cls.published}, which takes one scan."
            )
        shape = replace(
            UniFormerShape(),
            widths=(widths[0], widths[1], widths[2], widths[3]),
            depths=(depths[0], depths[1], depths[2], depths[3]),
            ratio=weights["blocks1.0.mlp.fc1.weight"].shape[0] // widths[0],
        )
        encoder = cls(shape)
        fit_weights(encoder.network, weights, source)
        return encoder

    def forward(self, slices: Tensor, modalities: Sequence[str] = ()) -> Tensor:
        """Return the features (N, widths[3]) of scans (N, 1, D, H, W); modalities are ignored."""
        deepest: Tensor = self.network(slices)
        return deepest.mean(dim=(2, 3, 4))
