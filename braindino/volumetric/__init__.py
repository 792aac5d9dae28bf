"""BrainSegFounder: self-supervised 3-D Swin transformers, and segmentation by SwinUNETR."""

from braindino.volumetric.module import SwinSSLModule
from braindino.volumetric.segmentation import SwinUNETRModule

__all__ = ["SwinSSLModule", "SwinUNETRModule"]
