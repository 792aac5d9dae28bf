"""BrainSegFounder: self-supervised 3-D Swin transformers, and segmentation by SwinUNETR."""

from braindino.brainsegfounder.module import SwinSSLModule
from braindino.brainsegfounder.segmentation import SwinUNETRModule

__all__ = ["SwinSSLModule", "SwinUNETRModule"]
