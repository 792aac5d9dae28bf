"""BrainSegFounder: self-supervised 3-D Swin transformers, and segmentation by SwinUNETR."""

from braindino.brainsegfounder.base import SwinModule, VolumeModule
from braindino.brainsegfounder.dyn_unet import DynUNetModule
from braindino.brainsegfounder.segmentation import SegmentationModule
from braindino.brainsegfounder.ssl_module import SwinSSLModule
from braindino.brainsegfounder.swin_unetr import SwinUNETRModule

__all__ = [
    "DynUNetModule",
    "SegmentationModule",
    "SwinModule",
    "SwinSSLModule",
    "SwinUNETRModule",
    "VolumeModule",
]
