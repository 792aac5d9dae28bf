"""An end that is asked for from outside (Ctrl-C, SIGTERM, a job's time limit): noted, and agreed on."""

import signal
import sys
import threading
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.utilities.exceptions import SIGTERMException

from braindino.cli.slurm import in_slurm_job


class Ended(SIGTERMException):
    """Raised by all processes between two steps, when what was sent is to end them and all is saved.

    Args:
        sent: the signal.
        first: whether this is the process that speaks to SLURM for all.
    """

    def __init__(self, sent: signal.Signals, first: bool) -> None:
        super().__init__(f"ended by {sent.name}")
        self.sent = sent
        self.first = first


class Ending:
    """Notes SIGINT, SIGTERM and, under SLURM, SIGUSR1, instead of stopping in the middle of a step.

    Lightning's own handlers are replaced while training: they know the first process only, and speak to the
    others from inside the handler, where those may be in the middle of another exchange.
    """

    def __init__(self) -> None:
        self._noted = 0
        self._before: dict[int, Any] = {}
        self._group: Any = None

    def listen(self, processes: int) -> None:
        """Take over the signals; called by all processes."""
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        wanted = [signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if in_slurm_job() else [])]
        self._before = {number: signal.signal(number, self._note) for number in wanted}
        if processes > 1:
            self._group = dist.new_group(backend="gloo")  # a flag on the host, whatever the device

    def listen_no_more(self) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def be_deaf(self) -> None:
        """Give back Ctrl-C only: `scancel` sends SIGTERM twice, and Lightning's handler speaks to the others.

        Lightning gives back the rest itself, when all is written.
        """
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, self._before.pop(signal.SIGINT))

    def _note(self, number: int, _: Any) -> None:
        self._noted = max(self._noted, number)
        if number == signal.SIGINT:  # the second one ends at once
            signal.signal(signal.SIGINT, signal.default_int_handler)
            print("\nending after this step; Ctrl-C again ends at once", file=sys.stderr, flush=True)

    def asked(self) -> signal.Signals | None:
        """What any process was sent so far, or None; equal on all, which call this after the same step."""
        noted = torch.tensor(self._noted)
        if self._group is not None:
            dist.all_reduce(noted, op=dist.ReduceOp.MAX, group=self._group)
        return signal.Signals(int(noted)) if noted else None
