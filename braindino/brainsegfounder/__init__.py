"""BrainSegFounder: self-supervised 3-D Swin transformers, and segmentation by SwinUNETR."""

from braindino.brainsegfounder.base import SwinModule
from braindino.brainsegfounder.segmentation import SwinUNETRModule
from braindino.brainsegfounder.ssl_module import SwinSSLModule

__all__ = ["SwinModule", "SwinSSLModule", "SwinUNETRModule"]
