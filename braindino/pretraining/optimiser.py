"""AdamW over the student: layer-wise learning rates, weight decay, clipping per submodule."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from braindino.errors import BraindinoError
from braindino.pretraining import limits
from braindino.pretraining.distributed import sum_over_processes
from braindino.pretraining.schedules import ScalingRule, Schedule, WarmUp, batch_scale
from braindino.pretraining.sharding import is_sharded, local


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW and its schedules, in optimiser steps.

    Defaults: method.md "Pretraining" (1000 steps per "epoch").

    Args:
        lr: base learning rate; the peak is this times the factor of `scaling_rule`.
        scaling_rule: "sqrt_wrt_1024" is DINOv3's factor 4 sqrt(batch / 1024), which is 1 at 64 slices per
            step; "sqrt_wrt_reference" is sqrt(batch / `reference_batch`); "none" takes `lr` as it is. The
            batch counts all processes and accumulated batches.
        reference_batch: slices per step at which "sqrt_wrt_reference" is 1; belongs to that rule only.
        lr_final: None stays at the peak; a number is reached by a half cosine, and scaled as `lr`.
        warmup_steps: number of steps from 0 to the peak.
        warmup: shape of the warm-up, "linear" or "cosine" (a half cosine; stage 2).
        layer_decay: the learning rate falls by this factor from each block to the one before it.
        patch_embed_lr: further factor for the patch embedding.
        weight_decay: weight decay of matrices; biases, norms, LayerScale and tokens are not decayed.
        weight_decay_final: None keeps it constant; a number is reached by a half cosine.
        betas: betas of AdamW.
        clip: largest gradient norm of each of backbone, DINO head and iBOT head.
        freeze_prototypes_steps: the heads' last layer does not move in these first steps. Its gradient
            counts in the clipping and in AdamW's averages all the same, as in DINOv3.

    Raises:
        BraindinoError: a number out of range, or a `reference_batch` without its rule.
    """

    lr: float = 2e-4
    scaling_rule: ScalingRule = "sqrt_wrt_1024"
    reference_batch: int | None = None
    lr_final: float | None = None
    warmup_steps: int = 30_000
    warmup: WarmUp = "linear"
    layer_decay: float = 0.9
    patch_embed_lr: float = 0.2
    weight_decay: float = 0.04
    weight_decay_final: float | None = None
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = 3.0
    freeze_prototypes_steps: int = 3_000

    def __post_init__(self) -> None:
        """Refuse values out of range."""
        if (self.reference_batch is None) == (self.scaling_rule == "sqrt_wrt_reference"):
            raise BraindinoError(
                f"model.optimiser.reference_batch: {self.reference_batch} with scaling_rule: "
                f"{self.scaling_rule}; it belongs to scaling_rule: sqrt_wrt_reference, and to no other.\n"
                "A config of an earlier version, without scaling_rule, used sqrt_wrt_reference; the "
                "published recipe is sqrt_wrt_1024."
            )
        limits.positive(self, "optimiser", "layer_decay", "clip")
        if self.reference_batch is not None:
            limits.positive(self, "optimiser", "reference_batch")
        limits.not_negative(
            self,
            "optimiser",
            "lr_final",
            "warmup_steps",
            "patch_embed_lr",
            "weight_decay",
            "weight_decay_final",
            "freeze_prototypes_steps",
            "lr",
        )

    def lr_schedule(self) -> Schedule:
        """Return the learning rate per step, before the factors of batch and layer."""
        return Schedule(self.lr, 0.0, self.warmup_steps, self.lr_final, self.warmup)

    def scaling(self, slices_per_step: int) -> float:
        """Return the factor of the learning rate for a total batch of `slices_per_step` slices."""
        return batch_scale(self.scaling_rule, slices_per_step, self.reference_batch)

    def peak(self, slices_per_step: int) -> float:
        """Return the peak learning rate for a total batch of `slices_per_step` slices."""
        return self.lr * self.scaling(slices_per_step)

    def report(self, slices_per_step: int, continued: bool, earlier: float | None) -> str:
        """Return the peak learning rate in words, or nothing when a continued run keeps it.

        Args:
            slices_per_step: number of slices over all processes and accumulated batches.
            continued: whether the run was interrupted before.
            earlier: peak that the checkpoint was trained with; None if it does not record one.
        """
        peak, factors = self.peak(slices_per_step), ""
        if self.scaling_rule == "sqrt_wrt_1024":
            factors = f" = {self.lr:g} x 4 sqrt({slices_per_step} / 1024)"
        elif self.scaling_rule == "sqrt_wrt_reference":
            factors = f" = {self.lr:g} x sqrt({slices_per_step} / {self.reference_batch})"
        line = f"peak learning rate {peak:.3g}{factors} (model.optimiser.scaling_rule: {self.scaling_rule})"
        if continued and earlier is None and self.scaling_rule == "sqrt_wrt_1024":
            return (
                f"{line}\nWARNING: this run began under an earlier version, whose peak was lr x sqrt(batch / "
                "1024), 4 times smaller.\nTo go on as before set model.optimiser.scaling_rule: "
                "sqrt_wrt_reference and model.optimiser.reference_batch: 1024."
            )
        if earlier is not None and not math.isclose(peak, earlier, rel_tol=1e-6):
            return f"{line}\nWARNING: it was {earlier:.3g} until now."
        return "" if continued else line

    def weight_decay_schedule(self) -> Schedule:
        """Return the weight decay per step, for the decayed parameters."""
        return Schedule(self.weight_decay, final=self.weight_decay_final)


def multipliers(
    name: str, parameter: nn.Parameter, depth: int, config: OptimiserConfig
) -> tuple[float, float]:
    """Return the factors of learning rate and weight decay of a parameter of the student.

    Layer 0 is everything before the first block, layer i + 1 is block i, and the final norm and the heads
    have factor 1 (BEiT's rule as DINOv2 and DINOv3 apply it).

    Args:
        name: name of the parameter in the student.
        parameter: the parameter itself.
        depth: number of blocks.
        config: layer decay and factor of the patch embedding.
    """
    decayed = 0.0 if parameter.ndim <= 1 or name.endswith("_token") else 1.0
    block = re.match(r"backbone\.blocks\.(\d+)\.", name)
    if block:
        layer = int(block[1]) + 1
    elif re.match(r"(backbone\.(patch_embed|norm_pre|cls_token|reg_token)|mask_token)", name):
        layer = 0
    else:
        layer = depth + 1
    factor = config.layer_decay ** (depth + 1 - layer)
    if name.startswith("backbone.patch_embed."):
        factor *= config.patch_embed_lr
    return factor, decayed


def create_optimiser(student: nn.Module, depth: int, config: OptimiserConfig) -> torch.optim.AdamW:
    """Return AdamW with one group per pair of factors: "lr_factor" and "wd_factor" in a group.

    The fused form applies the whole step in one pass and can skip it on the device (`found_inf`), so that the
    host need not wait for the gradients.

    Args:
        student: student whose parameters are trained.
        depth: number of blocks.
        config: see `OptimiserConfig`.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in student.named_parameters():
        lr_factor, wd_factor = key = multipliers(name, parameter, depth, config)
        group = groups.setdefault(key, {"params": [], "lr_factor": lr_factor, "wd_factor": wd_factor})
        group["params"].append(parameter)
    return torch.optim.AdamW(list(groups.values()), lr=config.lr, betas=config.betas, fused=True)


def clip_gradients(parts: Sequence[Iterable[nn.Parameter]], largest: float) -> Tensor:
    """Scale the gradients of each part to a norm of at most `largest`; return the norm before.

    Nothing waits for the device. A non-finite gradient makes the returned norm non-finite. With sharded
    gradients each process has a part, and the norm is that of the whole.

    Args:
        parts: parameters of the submodules that are clipped separately.
        largest: norm allowed to each.

    Returns:
        Norm of all gradients before clipping, a scalar on their device.
    """
    norms = []
    for part in parts:
        whole = [p.grad for p in part if p.grad is not None]
        gradients = local(whole)
        if gradients:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            if is_sharded(whole):
                norm = sum_over_processes(norm.square()).sqrt()
            torch._foreach_mul_(gradients, (largest / (norm + 1e-6)).clamp(max=1.0))
            norms.append(norm)
    total: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return total
