"""BrainSegFounder: self-supervised 3-D Swin transformers, and segmentation by SwinUNETR."""

from braindino.volumetric.module import SwinSSLModule

__all__ = ["SwinSSLModule"]
