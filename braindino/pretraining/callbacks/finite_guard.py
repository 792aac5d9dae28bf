"""Skip optimiser steps with a non-finite loss or gradient, and end a run that has several."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from braindino.errors import BraindinoError
from braindino.pretraining.distributed import maximum_over_processes

log = logging.getLogger(__name__)
_new_event: Callable[[], torch.cuda.Event] = torch.cuda.Event
LIMIT = 3  # such steps in a row that end the run


class FiniteGuard:
    """Check the optimiser steps without making the host wait for the device.

    `observe` returns the flag by which the optimiser and the moving average skip a step. On a GPU the values
    are copied to the host behind the queued work and judged one step later; on a CPU they are judged at once.

    Attributes:
        skipped: number of skipped steps so far.
    """

    def __init__(self) -> None:
        self._streak: Tensor | None = None
        self._pending: tuple[int, tuple[str, ...], Tensor, torch.cuda.Event | None] | None = None
        self.skipped = 0

    def observe(self, step: int, values: dict[str, Tensor]) -> Tensor:
        """Return 1.0 on every process if a value is non-finite on any of them, else 0.0.

        Args:
            step: number of the optimiser step, for messages.
            values: scalars by name (losses, gradient norm).

        Returns:
            A scalar on the device of the values.

        Raises:
            BraindinoError: the third such step in a row, with the values.
        """
        scalars = torch.stack([value.detach().float() for value in values.values()])
        is_bad = maximum_over_processes((~scalars.isfinite()).any().float())
        self._streak = is_bad if self._streak is None else (self._streak + 1) * is_bad
        report = torch.cat([self._streak[None], scalars])
        if report.is_cuda:
            self.judge()
            host = torch.empty(report.shape, pin_memory=True).copy_(report, non_blocking=True)
            event = _new_event()
            event.record()
            self._pending = (step, tuple(values), host, event)
        else:
            self._pending = (step, tuple(values), report, None)
            self.judge()
        return is_bad

    def judge(self) -> None:
        """Log the step observed last if it was skipped, once the device has finished it.

        Raises:
            BraindinoError: the third such step in a row, with the values.
        """
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
        listed = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, values, strict=True))
        log.warning("step %d is skipped: a loss or gradient is not finite (%s)", step, listed)
        if streak >= LIMIT:
            raise BraindinoError(
                f"pretraining stopped at step {step}: {LIMIT} steps in a row with a non-finite loss or "
                f"gradient ({listed}).\nThe last checkpoint has finite weights. A lower optimiser.lr or a "
                "longer optimiser.warmup_steps usually helps; also look for slices that are not finite."
            )
