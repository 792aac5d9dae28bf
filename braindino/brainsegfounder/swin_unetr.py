"""SwinUNETRModule: segment by SwinUNETR, from a pretrained encoder or from random weights."""

from torch import nn

from braindino.brainsegfounder.base import SwinModule
from braindino.brainsegfounder.segmentation import SegmentationModule
from braindino.datasets.volume_cases import VolumeCases
from braindino.encoders.volumes.swin import LegacyPatchMerging


class SwinUNETRModule(SegmentationModule, SwinModule):
    """Fine-tune SwinUNETR on crops, with one sigmoid per region and Dice loss.

    The method is that of arXiv 2406.10395, "Fine-tuning"; method.md "BrainSegFounder" lists the differences.
    `SegmentationModule` documents training and evaluation, `SwinModule` the sizes and `init_from`.
    """

    def build(self, data: VolumeCases) -> nn.Module:
        """Return the network for the modalities and regions of the data, with the weights of `init_from`.

        Args:
            data: the cases, after `setup`.
        """
        source = self.read_start()
        self.shape = self.shape_for(data.modalities, source)
        network = self.network_of_shape()
        if source is not None:
            self.load_start(network.get_submodule("swinViT"), self.shape.channels, source)
        return network

    def network_of_shape(self) -> nn.Module:
        """Return SwinUNETR of the sizes `shape`, with random weights."""
        from monai.networks.nets import SwinUNETR

        network: nn.Module = SwinUNETR(
            in_channels=len(self.shape.channels),
            out_channels=len(self.regions),
            depths=self.shape.depths,
            num_heads=self.shape.heads,
            window_size=self.shape.window,
            feature_size=self.shape.width,
            norm_name=self.norm_layer(),
            use_checkpoint=self.activation_checkpointing,
            downsample=LegacyPatchMerging if self.shape.legacy_merging else "mergingv2",
        )
        return network
