"""An end that is asked for from outside (Ctrl-C, SIGTERM, a job's time limit): noted, agreed on, requeued."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist

log = logging.getLogger(__name__)
NEAR = 900  # seconds; a SIGTERM that comes earlier than this before a job's limit is no time limit


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


def in_slurm_job() -> bool:
    """Whether this is a batch job of SLURM, which can go back into the queue."""
    name = os.environ.get("SLURM_JOB_NAME")
    return "SLURM_JOB_ID" in os.environ and name not in ("bash", "interactive")


def to_be_requeued(sent: signal.Signals, environment: Mapping[str, str], now: float) -> bool:
    """Whether a job that was sent this goes back into the queue.

    SIGUSR1 is only ever sent for that. SIGTERM comes before the time limit (`--signal=TERM@180`), but from
    `scancel` and preemption too: if SLURM told when the limit is, it must be near.

    Args:
        environment: SLURM_JOB_END_TIME is the limit in seconds of Unix time.
        now: in the same.
    """
    if sent == signal.SIGUSR1:
        return True
    limit = environment.get("SLURM_JOB_END_TIME")
    return sent == signal.SIGTERM and (limit is None or float(limit) - now < NEAR)


def requeue(sent: signal.Signals) -> None:
    """Put the job back into the queue under its own number, if that is what the signal meant."""
    if not in_slurm_job() or not to_be_requeued(sent, os.environ, time.time()):
        return
    job, array = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_JOB_ID")
    if array:
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        result = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        failed = result.stderr.strip() if result.returncode else None
    except OSError as error:
        failed = str(error)
    if failed is None:
        print(f"job {job} is back in the queue, and will go on from this step", flush=True)
    else:
        log.warning("job %s could not be requeued (%s); submit it again with the same --run.id", job, failed)
