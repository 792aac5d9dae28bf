"""Self-distillation of a ViT on slices: views, losses, the training module, its callbacks."""

from braindino.pretraining.callbacks.images import PatchPictures, ViewPictures
from braindino.pretraining.callbacks.knn import KNNMonitor
from braindino.pretraining.callbacks.online_probe import OnlineProbe
from braindino.pretraining.callbacks.online_segmentation_probe import OnlineSegmentationProbe
from braindino.pretraining.module import DINOModule
from braindino.pretraining.sharding import Sharded

__all__ = [
    "DINOModule",
    "KNNMonitor",
    "OnlineProbe",
    "OnlineSegmentationProbe",
    "PatchPictures",
    "Sharded",
    "ViewPictures",
]
