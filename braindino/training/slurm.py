"""SLURM: recognise batch jobs and interactive shells, name runs after them, requeue jobs."""

import logging
import os
import re
import signal
import subprocess
import time

from braindino.errors import BraindinoError

log = logging.getLogger(__name__)
# Seconds before a job's limit; a SIGTERM earlier than this is not that of the limit.
NEAR_LIMIT = 900
# Seconds; without a timeout scontrol waits for a controller that is down or overloaded.
SCONTROL_TIMEOUT = 120
# Names of the jobs of `srun --pty bash` and `salloc`.
_SHELLS = ("bash", "interactive")


def in_slurm_job() -> bool:
    """Return whether this is a batch job of SLURM, which can be requeued."""
    return "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in _SHELLS


def in_interactive_step() -> bool:
    """Return whether this is one of several tasks that `srun` started from a shell of `salloc`.

    Lightning uses the name of the job, which is that of the shell: it would treat each task as a run that
    has to start the others, and wait for ever.
    """
    return _tasks() > 1 and os.environ.get("SLURM_JOB_NAME") in _SHELLS


def _tasks() -> int:
    """Return the number of tasks of the `srun` step that this process belongs to.

    `srun --ntasks 4 --pty bash` counts four, but only the first gets the terminal and is a shell; the
    others end at once. A program started from that shell is a single task.
    """
    if os.environ.get("SLURM_JOB_NAME") in _SHELLS and "SLURM_PTY_PORT" in os.environ and _has_terminal():
        # The variable alone is no sign: a further `srun` in the shell inherits it.
        return 1
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def _has_terminal() -> bool:
    try:
        os.close(os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def check_tasks(processes: int) -> None:
    """Refuse tasks of `srun` that form no group: each would run the whole training.

    Args:
        processes: number of processes of the trainer, on all nodes.

    Raises:
        BraindinoError: there are several tasks, and not as many as the trainer has processes.
    """
    tasks = _tasks()
    if tasks > 1 and tasks != processes and "TORCHELASTIC_RUN_ID" not in os.environ:
        raise BraindinoError(
            f"srun started {tasks} tasks, but trainer.devices times trainer.num_nodes is {processes}.\n"
            "Start one task, or set --trainer.devices to the tasks per node and --trainer.num_nodes."
        )


def slurm_id() -> str | None:
    """Return the name of a run in this job or step, the same for all its tasks, or None.

    A shell names no run: the second run in it would continue the first.
    """
    if in_interactive_step():
        return f"slurm-{os.environ['SLURM_JOB_ID']}-step{os.environ['SLURM_STEP_ID']}"
    return f"slurm-{_number().replace('_', '-')}" if in_slurm_job() else None


def _number() -> str:
    """Return the job's number as the user sees it: array tasks have another, hidden one."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


def should_requeue(sent: signal.Signals, shown: str, now: float) -> bool:
    """Return whether a job that received a signal goes back into the queue.

    SIGUSR1 is only ever sent for that. SIGTERM comes before the time limit (`--signal=TERM@180`), but from
    `scancel` and preemption too. While SLURM cancels a job, or requeues it itself, the job is not RUNNING.

    Args:
        sent: the signal.
        shown: output of `scontrol show job`, with times in seconds of Unix time.
        now: present time in the same unit.
    """
    facts = dict(re.findall(r"(?<!\S)(JobState|EndTime)=(\S+)", shown))
    if sent == signal.SIGINT or facts.get("JobState") != "RUNNING":
        return False
    limit = facts.get("EndTime", "")
    return sent == signal.SIGUSR1 or (limit.isdecimal() and int(limit) - now < NEAR_LIMIT)


def requeue(sent: signal.Signals) -> None:
    """Requeue the job under its number, if that is what the signal meant.

    SLURM ends the processes of the job at once, so that everything has to be written before.

    Args:
        sent: the signal.
    """
    if not in_slurm_job():
        return
    job = _number()
    try:
        if not should_requeue(sent, _scontrol("show", "--oneliner", "job", job), time.time()):
            return
        _scontrol("requeue", job)
    except OSError as error:
        log.warning("job %s could not be requeued (%s); submit it again with the same --run.id", job, error)
    else:
        print(f"job {job} is back in the queue, and will go on from this step", flush=True)


def _scontrol(*arguments: str) -> str:
    # Not SLURM_JOB_END_TIME, which 22.05 does not set and which is not updated when a limit is extended.
    times = {"SLURM_TIME_FORMAT": "%s"}
    command = ["scontrol", *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            # Comments and folders of users are in the output.
            errors="replace",
            check=False,
            env={**os.environ, **times},
            timeout=SCONTROL_TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"scontrol did not respond in {SCONTROL_TIMEOUT} seconds") from None
    if done.returncode:
        raise OSError(done.stderr.strip())
    return done.stdout
