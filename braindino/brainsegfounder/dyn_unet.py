"""DynUNetModule: the supervised 3-D U-Net that a pretrained SwinUNETR is compared with."""

from typing import Any

from torch import nn

from braindino.brainsegfounder.segmentation import NORM_GROUPS, SegmentationModule
from braindino.datasets.volume_cases import VolumeCases
from braindino.errors import BraindinoError

HALVINGS = 5  # as SwinUNETR halves its crops
MAX_WIDENING = 10  # of the width: 32 to 320 in nnU-Net


class DynUNetModule(SegmentationModule):
    """Train a 3-D U-Net (MONAI's DynUNet) from random weights, as the control of `SwinUNETRModule`.

    Crops, changes to them, loss, schedule, choice of the weights and evaluation are those of
    `SegmentationModule`, and thus of SwinUNETR. The network is nnU-Net's plain one (Isensee et al. 2021,
    doi.org/10.1038/s41592-020-01008-z): two 3 x 3 x 3 convolutions per stage, features doubled at every
    halving up to ten times `width`. There are five halvings, as in SwinUNETR, so that an equal `width` gives
    about as many parameters: 70 million at 48. Deep supervision is not used, as SwinUNETR has none.

    Args:
        width: features of the first stage, with `norm: group` a multiple of 4.
        options: norm, optimiser and seed; see `SegmentationModule`.

    Raises:
        BraindinoError: a `width` that does not fit; see also `SegmentationModule`.
    """

    def __init__(self, width: int = 48, **options: Any) -> None:
        super().__init__(**options)
        if width < 1 or (self.norm == "group" and width % NORM_GROUPS):
            multiple = f", a multiple of {NORM_GROUPS} with norm: group" if self.norm == "group" else ""
            raise BraindinoError(f"model.width {width}: expected 1 or more{multiple}.")
        self.width = width

    @property
    def weights_name(self) -> str:
        """Return the name of the network, which starts from random weights."""
        return "unet"

    def build(self, data: VolumeCases) -> nn.Module:
        """Return the network for the modalities and regions of the data.

        Args:
            data: the cases, after `setup`.
        """
        from monai.networks.nets import DynUNet

        widths = [self.width * min(2**stage, MAX_WIDENING) for stage in range(HALVINGS + 1)]
        name, options = self.norm_layer()
        network: nn.Module = DynUNet(
            spatial_dims=3,
            in_channels=len(data.modalities),
            out_channels=len(self.regions),
            kernel_size=[3] * len(widths),
            strides=[1] + [2] * HALVINGS,
            upsample_kernel_size=[2] * HALVINGS,
            filters=widths,
            norm_name=(name, {**options, "affine": True}),
        )
        return network
