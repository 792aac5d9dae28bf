"""Values that change with the step: learning rate, weight decay, momentum, temperature."""

import math
from dataclasses import dataclass
from typing import Literal

ScalingRule = Literal["sqrt_wrt_1024", "sqrt_wrt_reference", "none"]
WarmUp = Literal["linear", "cosine"]


@dataclass(frozen=True)
class Schedule:
    """Warm-up, then a constant or a half cosine.

    Args:
        value: reached at the end of the warm-up.
        start: value at step 0 when there is a warm-up.
        warmup_steps: optimiser steps of the warm-up.
        final: None stays at `value`; a number is reached by a half cosine at the last step.
        warmup: "linear" reaches `value` at step `warmup_steps`; "cosine" is a half cosine that reaches it one
            step earlier (both as DINOv3's schedules count).
    """

    value: float
    start: float = 0.0
    warmup_steps: int = 0
    final: float | None = None
    warmup: WarmUp = "linear"

    def at(self, step: int, total_steps: float) -> float:
        """Return the value at a step.

        Args:
            step: number of the step, from 0.
            total_steps: number of steps of the run; may be infinite when `final` is None.
        """
        if step < self.warmup_steps:
            if self.warmup == "linear":
                return self.start + (self.value - self.start) * step / self.warmup_steps
            passed = step / max(1, self.warmup_steps - 1)
            return self.start + (self.value - self.start) * 0.5 * (1 - math.cos(math.pi * passed))
        if self.final is None:
            return self.value
        progress = (step - self.warmup_steps) / max(1, total_steps - 1 - self.warmup_steps)
        return self.final + (self.value - self.final) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def batch_scale(rule: ScalingRule, slices_per_step: int, reference: int | None = None) -> float:
    """Return the factor of the learning rate for a total batch of `slices_per_step` slices.

    Args:
        rule: "sqrt_wrt_1024" is DINOv3's: 4 sqrt(batch / 1024). "sqrt_wrt_reference" is sqrt(batch /
            reference). "none" is 1.
        slices_per_step: number of slices over all processes and accumulated batches.
        reference: batch at which "sqrt_wrt_reference" is 1.
    """
    if rule == "sqrt_wrt_1024":
        return 4 * math.sqrt(slices_per_step / 1024)
    if rule == "sqrt_wrt_reference":
        assert reference is not None
        return math.sqrt(slices_per_step / reference)
    return 1.0
