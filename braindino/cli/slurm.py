"""SLURM as a run sees it: a batch job or a shell, named after what, and back into the queue when."""

import logging
import os
import re
import signal
import subprocess
import time

log = logging.getLogger(__name__)
NEAR = 900  # seconds; a SIGTERM that comes earlier than this before a job's limit is no time limit
_SHELLS = ("bash", "interactive")  # what `srun --pty bash` and `salloc` call their jobs


def in_slurm_job() -> bool:
    """Whether this is a batch job of SLURM, which can go back into the queue."""
    return "SLURM_JOB_ID" in os.environ and os.environ.get("SLURM_JOB_NAME") not in _SHELLS


def in_interactive_step() -> bool:
    """Whether this is one of several tasks that `srun` started from the shell of `salloc`.

    Lightning goes by the name of the job, which is that of the shell: it would take each task for a run
    that has to start the others, and wait for ever.
    """
    several = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    return several and os.environ.get("SLURM_JOB_NAME") in _SHELLS


def slurm_id() -> str | None:
    """The name of the run that this job or step is, the same for all its tasks; None for anything else.

    A shell is nothing to name a run after: the second one would go on with the first.
    """
    job = os.environ.get("SLURM_JOB_ID")
    if in_interactive_step():
        return f"slurm-{job}-step{os.environ['SLURM_STEP_ID']}"
    if not in_slurm_job():
        return None
    task = os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"slurm-{job}" + (f"-{task}" if task else "")


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
    # Asked instead of SLURM_JOB_END_TIME, which 22.05 does not set and which an extended limit leaves behind.
    times = {"SLURM_TIME_FORMAT": "%s"}
    command = ["scontrol", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **times})
    if done.returncode:
        raise OSError(done.stderr.strip())
    return done.stdout
