"""Values that change with the optimiser step: learning rate, weight decay, momentum, temperature."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """A linear warm-up, then a constant or a half cosine.

    Args:
        value: reached at the end of the warm-up.
        start: value at step 0 when there is a warm-up.
        warmup_steps: optimiser steps of the warm-up.
        final: None stays at `value`; otherwise a half cosine leads there at the last step.
    """

    value: float
    start: float = 0.0
    warmup_steps: int = 0
    final: float | None = None

    def at(self, step: int, total_steps: float) -> float:
        """Value for step `step` (from 0) of `total_steps` (which may be infinite when `final` is None)."""
        if step < self.warmup_steps:
            return self.start + (self.value - self.start) * step / self.warmup_steps
        if self.final is None:
            return self.value
        progress = (step - self.warmup_steps) / max(1, total_steps - 1 - self.warmup_steps)
        return self.final + (self.value - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def batch_scale(slices_per_step: int, reference: int = 1024) -> float:
    """Factor of the learning rate for a total batch of `slices_per_step` slices: the root of the ratio."""
    return math.sqrt(slices_per_step / reference)
