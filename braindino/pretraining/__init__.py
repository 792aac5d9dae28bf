"""Self-distillation: views, masks, heads, losses, schedules, the module that trains, its monitors."""

from braindino.pretraining.knn import KNNMonitor
from braindino.pretraining.module import DINOModule
from braindino.pretraining.picture_monitors import PatchPictures, ViewPictures
from braindino.pretraining.sharding import Sharded

__all__ = ["DINOModule", "KNNMonitor", "PatchPictures", "Sharded", "ViewPictures"]
