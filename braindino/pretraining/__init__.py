"""Self-distillation: views, masks, heads, losses, schedules, and the module that trains them."""

from braindino.pretraining.module import DINOModule

__all__ = ["DINOModule"]
