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
SAME_SIGNAL = 2.0  # seconds within which a second signal counts as the first


class GracefulExit(SIGTERMException):
    """Raised by all processes between two steps, when a signal ends the run and all is saved.

    Args:
        sent: the signal.
        first: whether this is the process that calls SLURM for all.
    """

    def __init__(self, sent: signal.Signals, first: bool) -> None:
        super().__init__(f"ended by {sent.name}")
        self.sent = sent
        self.first = first


class SignalListener:
    """Note SIGINT, SIGTERM and, under SLURM, SIGUSR1, so that a step is not interrupted.

    Lightning's handlers are replaced while training: they act on the first process only, and communicate
    with the others from inside the handler, when those may be in the middle of another exchange.

    A second signal ends the process at once, for the case that a loader or another process hangs. `scancel`
    sends SIGTERM twice in quick succession, and a checkpoint being written is finished: neither ends the
    process.
    """

    def __init__(self) -> None:
        self._handled = 0
        self._first = 0.0
        self._is_writing = False
        self._before: dict[int, Any] = {}
        self._group: Any = None

    def start(self, processes: int) -> None:
        """Install the handlers; called by all processes.

        Args:
            processes: number of processes of the run.
        """
        if self._before or threading.current_thread() is not threading.main_thread():
            return
        numbers = [signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if in_slurm_job() else [])]
        self._before = {number: signal.signal(number, self._handle) for number in numbers}
        if processes > 1:
            # The flag is on the host, whatever the device.
            self._group = dist.new_group(backend="gloo")

    def stop(self) -> None:
        """Restore the handlers."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def stop_interrupt(self) -> None:
        """Restore the handler of Ctrl-C only, and let no further SIGTERM end the process.

        `scancel` sends SIGTERM twice, and Lightning's handler would communicate with the other processes.
        Lightning restores the rest itself, when all is written.
        """
        self._is_writing = True
        if signal.SIGINT in self._before:
            signal.signal(signal.SIGINT, self._before.pop(signal.SIGINT))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Let no second SIGTERM end the block, which writes a checkpoint."""
        before, self._is_writing = self._is_writing, True
        try:
            yield
        finally:
            self._is_writing = before

    def _handle(self, number: int, _: Any) -> None:
        first, self._handled = not self._handled, max(self._handled, number)
        # The second Ctrl-C ends the process at once.
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            _print("\nending after this step; Ctrl-C again ends at once")
        elif first:
            self._first = time.monotonic()
        elif not self._is_writing and time.monotonic() - self._first > SAME_SIGNAL:
            _print(f"{signal.Signals(number).name} again: ending at once; earlier checkpoints stay")
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def received(self) -> signal.Signals | None:
        """Return the signal that any process received so far, or None.

        Equal on all processes, which must call this after the same step.
        """
        noted = torch.tensor(self._handled)
        if self._group is not None:
            dist.all_reduce(noted, op=dist.ReduceOp.MAX, group=self._group)
        return signal.Signals(int(noted)) if noted else None


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
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


def restore_default_sigterm() -> None:
    """Let SIGTERM end the process at once again: all is written."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _print(text: str) -> None:
    """Print from a signal handler, which may have interrupted another print."""
    with suppress(OSError):
        os.write(sys.stderr.fileno(), f"{text}\n".encode())
