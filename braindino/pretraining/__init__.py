"""Self-distillation: views, masks, heads, losses, schedules, the module that trains, its monitors."""

from braindino.pretraining.callbacks.images import PatchPictures, ViewPictures
from braindino.pretraining.callbacks.knn import KNNMonitor
from braindino.pretraining.module import DINOModule
from braindino.pretraining.sharding import Sharded

__all__ = ["DINOModule", "KNNMonitor", "PatchPictures", "Sharded", "ViewPictures"]
