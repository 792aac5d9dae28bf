"""Steps with a non-finite loss or gradient: seen on the device, left out, and fatal when they go on."""

import logging

import torch
from torch import Tensor

from braindino.errors import BraindinoError
from braindino.pretraining.distributed import maximum_over_processes

log = logging.getLogger(__name__)
LIMIT = 3  # such steps in a row that end the run


class FiniteGuard:
    """Watches the optimiser steps without making the host wait for the device.

    `observe` gives the flag by which the optimiser and the moving average leave a step out. On a GPU what it
    saw travels to the host behind the work and is judged one step later; on a CPU at once.
    """

    def __init__(self) -> None:
        self._streak: Tensor | None = None
        self._pending: tuple[int, tuple[str, ...], Tensor, torch.cuda.Event | None] | None = None
        self.skipped = 0

    def observe(self, step: int, seen: dict[str, Tensor]) -> Tensor:
        """1.0 on every process if a value of `seen` (losses, gradient norm) is non-finite on any, else 0.0.

        Raises:
            BraindinoError: the third such step in a row, with what was seen.
        """
        values = torch.stack([v.detach().float() for v in seen.values()])
        found = maximum_over_processes((~values.isfinite()).any().float())
        self._streak = found if self._streak is None else (self._streak + 1) * found
        report = torch.cat([self._streak[None], values])
        if report.is_cuda:
            self.judge()
            host = torch.empty(report.shape, pin_memory=True).copy_(report, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
            self._pending = (step, tuple(seen), host, event)
        else:
            self._pending = (step, tuple(seen), report, None)
            self.judge()
        return found

    def judge(self) -> None:
        """Look at the step last observed, when the device is done with it."""
        if self._pending is None:
            return
        step, names, report, event = self._pending
        self._pending = None
        if event is not None:
            event.synchronize()
        streak, *values = report.tolist()
        if not streak:
            return
        self.skipped += 1
        seen = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values, strict=True))
        log.warning("step %d is left out: a loss or gradient is not finite (%s)", step, seen)
        if streak >= LIMIT:
            raise BraindinoError(
                f"pretraining stopped at step {step}: {LIMIT} steps in a row with a non-finite loss or "
                f"gradient ({seen}).\nThe last checkpoint holds finite weights. A lower optimiser.lr or a "
                "longer optimiser.warmup_steps usually helps; also look for slices that are not finite."
            )
