"""AdamW with a linear warm-up and a cosine to zero, for pretraining and fine-tuning."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn

from braindino.errors import BraindinoError


@dataclass(frozen=True)
class SwinOptimiserConfig:
    """Learning rate, weight decay and clipping of AdamW.

    Attributes:
        lr: learning rate after the warm-up.
        weight_decay: decoupled.
        warmup_steps: optimiser steps from 0 to `lr`.
        clip: largest norm of the gradient.

    Raises:
        BraindinoError: a number outside of its range.
    """

    lr: float = 5e-4
    weight_decay: float = 0.1
    warmup_steps: int = 500
    clip: float = 1.0

    def __post_init__(self) -> None:
        """Raise BraindinoError for a number outside of its range."""
        for name in ("lr", "clip"):
            if not getattr(self, name) > 0:
                raise BraindinoError(f"model.optimiser.{name} {getattr(self, name)}: expected more than 0.")
        for name in ("weight_decay", "warmup_steps"):
            if not getattr(self, name) >= 0:
                raise BraindinoError(f"model.optimiser.{name} {getattr(self, name)}: expected 0 or more.")

    def lr_factor(self, step: int, total: float) -> float:
        """Return the factor of `lr` at an optimiser step.

        Args:
            step: number of the step, from 0.
            total: steps of the run; without an end (infinity) the factor stays 1 after the warm-up.
        """
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        if math.isinf(total):
            return 1.0
        done = (step - self.warmup_steps) / max(total - self.warmup_steps, 1)
        return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))

    def configure(self, module: LightningModule) -> OptimizerLRScheduler:
        """Return optimiser and schedule as `LightningModule.configure_optimizers` returns them."""
        optimiser = self.adamw(module)
        total = float(module.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: self.lr_factor(step, total))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def adamw(self, module: nn.Module) -> torch.optim.AdamW:
        """Return AdamW for the trainable parameters; biases, norms and position tables do not decay.

        Fused: one pass over the weights instead of ten, and on the CPU on all threads.
        """
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        plain = [p for name, p in named if p.ndim < 2 or "position_bias" in name]
        decayed = [p for name, p in named if not (p.ndim < 2 or "position_bias" in name)]
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
        return torch.optim.AdamW(groups, lr=self.lr, weight_decay=self.weight_decay, fused=True)


class GradientClipping:
    """Clip gradients, skip steps that are not finite, and end the run after `PATIENCE` in a row.

    Attributes:
        in_a_row: number of steps that were not finite since the last finite one.
    """

    PATIENCE = 3

    def __init__(self) -> None:
        self.in_a_row = 0

    def __call__(self, module: nn.Module, limit: float, step: int) -> torch.Tensor:
        """Clip the gradients of `module` and return their norm before clipping.

        Args:
            module: module whose gradients are clipped, or dropped if they are not finite.
            limit: largest norm.
            step: optimiser steps done, for the message.

        Raises:
            BraindinoError: the third step in a row that is not finite.
        """
        parameters = [p for p in module.parameters() if p.grad is not None]
        norm = nn.utils.clip_grad_norm_(parameters, limit)
        if torch.isfinite(norm):
            self.in_a_row = 0
            return norm
        for parameter in parameters:
            parameter.grad = None
        self.in_a_row += 1
        if self.in_a_row == self.PATIENCE:
            raise BraindinoError(
                f"step {step}: the gradient was not finite {self.PATIENCE} times in a row.\n"
                "Lower model.optimiser.lr, or train in 32-true."
            )
        return norm
