"""An end that is asked for from outside (Ctrl-C, SIGTERM, a job's time limit): noted, agreed on, requeued."""

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.utilities.exceptions import SIGTERMException

log = logging.getLogger(__name__)
NEAR = 900  # seconds; a SIGTERM that comes earlier than this before a job's limit is no time limit


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


def in_slurm_job() -> bool:
    """Whether this is a batch job of SLURM, which can go back into the queue."""
    name = os.environ.get("SLURM_JOB_NAME")
    return "SLURM_JOB_ID" in os.environ and name not in ("bash", "interactive")


def to_be_requeued(sent: signal.Signals, shown: str, now: float) -> bool:
    """Whether a job that was sent this goes back into the queue.

    SIGUSR1 is only ever sent for that. SIGTERM comes before the time limit (`--signal=TERM@180`), but from
    `scancel` and preemption too. While SLURM cancels a job, or puts it back itself, the job runs no more.

    Args:
        shown: what `scontrol show job` says, with times in seconds of Unix time.
        now: in the same.
    """
    told = dict(re.findall(r"(?<!\S)(JobState|EndTime)=(\S+)", shown))
    if sent == signal.SIGINT or told.get("JobState") != "RUNNING":
        return False
    limit = told.get("EndTime", "")
    return sent == signal.SIGUSR1 or (limit.isdecimal() and int(limit) - now < NEAR)


def requeue(sent: signal.Signals) -> None:
    """Put the job back into the queue under its own number, if that is what the signal meant.

    SLURM ends the processes of the job at once, so that whatever is to be written has to be written before.
    """
    if not in_slurm_job():
        return
    job, array = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_JOB_ID")
    if array:
        job = f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        if not to_be_requeued(sent, _scontrol("show", "--oneliner", "job", job), time.time()):
            return
        _scontrol("requeue", job)
    except OSError as error:
        log.warning("job %s could not be requeued (%s); submit it again with the same --run.id", job, error)
    else:
        print(f"job {job} is back in the queue, and will go on from this step", flush=True)


def _scontrol(*arguments: str) -> str:
    # Asked instead of SLURM_JOB_END_TIME, which releases before 23.02 do not set and none keeps up to date.
    times = {"SLURM_TIME_FORMAT": "%s"}
    command = ["scontrol", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **times})
    if done.returncode:
        raise OSError(done.stderr.strip())
    return done.stdout
