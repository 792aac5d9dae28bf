"""SLURM as a run sees it: a batch job or a shell, named after what, and back into the queue when."""

import logging
import os
import re
import signal
import subprocess
import time

from braindino.errors import BraindinoError

log = logging.getLogger(__name__)
NEAR = 900  # seconds; a SIGTERM that comes earlier than this before a job's limit is no time limit
PATIENCE = 120  # seconds; scontrol by itself may wait for a controller that is down or overloaded
_SHELLS = ("bash", "interactive")  # what `srun --pty bash` and `salloc` call their jobs


def in_slurm_job() -> bool:
    """Whether this is a batch job of SLURM, which can go back into the queue."""
    return "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in _SHELLS


def in_interactive_step() -> bool:
    """Whether this is one of several tasks that `srun` started from the shell of `salloc`.

    Lightning goes by the name of the job, which is that of the shell: it would take each task for a run
    that has to start the others, and wait for ever.
    """
    return _tasks() > 1 and os.environ.get("SLURM_JOB_NAME") in _SHELLS


def _tasks() -> int:
    """Of the step of `srun` that this is one of.

    `srun --ntasks 4 --pty bash` counts four, but only the first gets the terminal and is a shell; the others
    end at once. What runs in that shell is by itself.
    """
    if os.environ.get("SLURM_JOB_NAME") in _SHELLS and "SLURM_PTY_PORT" in os.environ and _has_terminal():
        return 1  # the variable alone tells nothing: a further `srun` in the shell hands it on
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))


def _has_terminal() -> bool:
    try:
        os.close(os.open(os.ctermid(), os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def check_tasks(processes: int) -> None:
    """Refuse tasks of `srun` that are no group: Lightning would run the whole training in each of them.

    Args:
        processes: of the trainer, on all nodes.

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
    """The name of the run that this job or step is, the same for all its tasks; None for anything else.

    A shell is nothing to name a run after: the second one would go on with the first.
    """
    if in_interactive_step():
        return f"slurm-{os.environ['SLURM_JOB_ID']}-step{os.environ['SLURM_STEP_ID']}"
    return f"slurm-{_number().replace('_', '-')}" if in_slurm_job() else None


def _number() -> str:
    """What the user knows the job by: tasks of an array have one of their own too, never shown."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}" if array else os.environ["SLURM_JOB_ID"]


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
    job = _number()
    try:
        if not to_be_requeued(sent, _scontrol("show", "--oneliner", "job", job), time.time()):
            return
        _scontrol("requeue", job)
    except OSError as error:
        log.warning("job %s could not be requeued (%s); submit it again with the same --run.id", job, error)
    else:
        print(f"job {job} is back in the queue, and will go on from this step", flush=True)


def _scontrol(*arguments: str) -> str:
    # Asked instead of SLURM_JOB_END_TIME, which 22.05 does not set and which an extended limit leaves behind.
    times = {"SLURM_TIME_FORMAT": "%s"}
    command = ["scontrol", *arguments]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # users' comments and folders are in what is shown
            check=False,
            env={**os.environ, **times},
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"scontrol did not answer in {PATIENCE} seconds") from None
    if done.returncode:
        raise OSError(done.stderr.strip())
    return done.stdout
