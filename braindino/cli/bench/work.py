"""The studies of a bench: each is run by the verb `probe`, and its failure stops no other."""

import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from braindino.cli.config.parser import parse_probe
from braindino.cli.main import main
from braindino.errors import BraindinoError
from braindino.training.signals import TERMINATED
from braindino.training.state import read_state, record_failure
from braindino.verbs.bench import Study

LOG = "log.txt"
INTERRUPTED = 130


# Options that any machine can satisfy: a login node need not have the GPUs of a study.
_ANYWHERE = ("--trainer.accelerator=cpu", "--trainer.devices=1")


def check_study(study: Study, elsewhere: bool) -> None:
    """Raise BraindinoError, with the name of the study, if `braindino probe` would refuse it.

    Args:
        study: the study.
        elsewhere: whether it will run on another machine, with other devices.
    """
    try:
        parse_probe([*study.arguments, *(_ANYWHERE if elsewhere else ())]).check()
    except BraindinoError as error:
        raise BraindinoError(f"{study.name}: {error}") from None


def run_studies(studies: Sequence[Study], jobs: int) -> dict[Study, str]:
    """Run studies, `jobs` at a time, and print a line when one ends.

    One job runs in this process; several run in a process each, so that a process that dies (out of memory)
    costs only its study.

    Args:
        studies: the studies.
        jobs: number of studies at a time.

    Returns:
        The studies that failed, with the reasons.

    Raises:
        KeyboardInterrupt: a study was interrupted; no other is begun after it, and those that run end first.
    """
    failed: dict[Study, str] = {}
    if jobs == 1:
        for number, study in enumerate(studies, start=1):
            _report(study, run_bench_study(study, apart=False), failed, f"{number}/{len(studies)}")
        return failed
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(run_bench_study, study, apart=True): study for study in studies}
        try:
            for number, future in enumerate(as_completed(running), start=1):
                _report(running[future], future.result(), failed, f"{number}/{len(studies)}")
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return failed


def run_bench_study(study: Study, apart: bool) -> float | str:
    """Run one study, with its output in `log.txt` of its run folder.

    Args:
        study: the study.
        apart: run it in a process of its own.

    Returns:
        The seconds it took, or the reason of its failure.

    Raises:
        KeyboardInterrupt: it was interrupted.
    """
    study.folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with (study.folder / LOG).open("w", encoding="utf-8") as log:
        if apart:
            command = [sys.executable, "-m", "braindino", "probe", *study.arguments]
            code = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False).returncode
        else:
            with redirect_stdout(log), redirect_stderr(log):
                code = _run_in_process(study)
    if code == INTERRUPTED or (code == TERMINATED and not apart):
        raise KeyboardInterrupt
    if code == 0:
        return time.monotonic() - started
    reason = _reason(study.folder / LOG, code)
    # "running" is the state of another process.
    if read_state(study.folder)["state"] not in ("failed", "running"):
        record_failure(study.folder, reason)
    return reason


def submit(studies: Sequence[Study], cluster: dict[str, Any], folder: Path) -> list[str]:
    """Submit studies to SLURM as one array with a job each, and return the ids of the jobs.

    Without SLURM the jobs run on this machine.

    Args:
        studies: the studies.
        cluster: options of submitit.
        folder: folder of the bench.

    Raises:
        BraindinoError: submitit is not installed, or an option in `cluster` is unknown.
    """
    try:
        import submitit
    except ImportError:
        raise BraindinoError("--submit needs submitit: `pip install 'braindino[cluster]'`.") from None
    executor = submitit.AutoExecutor(folder=folder / "submitted" / "%j")
    try:
        # The default of submitit ends a job after five minutes, on this machine after two.
        executor.update_parameters(**{"name": "braindino-bench", "timeout_min": 24 * 60, **cluster})
    except (NameError, TypeError, ValueError) as error:
        raise BraindinoError(f"--cluster: {error}") from None
    return [job.job_id for job in executor.map_array(partial(run_bench_study, apart=False), studies)]


def _run_in_process(study: Study) -> int:
    try:
        return main(["probe", *study.arguments])
    # A defect must not stop the other studies, and must be in the log.
    except Exception:
        traceback.print_exc()
        return 1


def _reason(log: Path, code: int) -> str:
    """Return the reason of a failure: the error in one line, or the last line of the log."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line]
    errors = [line.partition("braindino: error: ")[2] for line in lines if "braindino: error: " in line]
    if errors:
        return errors[-1]
    if code < 0:
        return f"its process died of signal {-code} (9: out of memory, usually)"
    return lines[-1] if lines else f"exit code {code}"


def _report(study: Study, outcome: float | str, failed: dict[Study, str], number: str) -> None:
    """Print a line about a study that has ended, and put a failure into `failed`."""
    if isinstance(outcome, str):
        failed[study] = outcome
        text = f"FAILED: {outcome} (all of it: {study.folder / LOG})"
    else:
        text = f"done in {outcome:.0f} s"
    # Above a bar, if there is one.
    tqdm.write(f"[{number}] {study.name}: {text}")
    sys.stdout.flush()
