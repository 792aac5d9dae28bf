"""Shut down gracefully on SIGINT, SIGTERM and SIGUSR1, in step across processes."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.utilities.exceptions import SIGTERMException

from braindino.training.slurm import in_slurm_job

TERMINATED = 128 + signal.SIGTERM  # exit code
TWICE = 2.0  # seconds within which a second signal counts as the first


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
    """Note SIGINT, SIGTERM and, under SLURM, SIGUSR1, instead of stopping in the middle of a step.

    Lightning's own handlers are replaced while training: they know the first process only, and speak to the
    others from inside the handler, where those may be in the middle of another exchange.

    A second signal ends the process at once, for the case that a loader or another process hangs. `scancel`
    sends SIGTERM twice in quick succession, and a checkpoint being written is finished: both are left alone.
    """

    def __init__(self) -> None:
        self._noted = 0
        self._first = 0.0
        self._busy = False
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
        self._busy = True
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, self._before.pop(signal.SIGINT))

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Let no second SIGTERM end the block, which writes a checkpoint."""
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def _note(self, number: int, _: Any) -> None:
        first, self._noted = not self._noted, max(self._noted, number)
        if number == signal.SIGINT:  # the second one ends at once
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _print("\nending after this step; Ctrl-C again ends at once")
        elif first:
            self._first = time.monotonic()
        elif not self._busy and time.monotonic() - self._first > TWICE:
            _print(f"{signal.Signals(number).name} again: ending at once; what was saved before stays")
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def asked(self) -> signal.Signals | None:
        """What any process was sent so far, or None; equal on all, which call this after the same step."""
        noted = torch.tensor(self._noted)
        if self._group is not None:
            dist.all_reduce(noted, op=dist.ReduceOp.MAX, group=self._group)
        return signal.Signals(int(noted)) if noted else None


@contextmanager
def ends_at_sigterm() -> Iterator[None]:
    """End the block with exit code 143 at a SIGTERM, also while it waits for a loader.

    Lightning's handler only notes the signal until the next batch; it calls this one too.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(*_: Any) -> None:
        raise SystemExit(TERMINATED)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def end_at_once_from_now_on() -> None:
    """Give SIGTERM its default effect: all is written."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _print(text: str) -> None:
    """Print from a signal handler, which may have interrupted another print."""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{text}\n".encode())
