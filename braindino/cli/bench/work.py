"""Runs the studies of a bench, each by the verb `probe`; one that fails stops no other."""

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

from braindino.cli.bench.plan import Study
from braindino.cli.config.parser import parse_probe
from braindino.cli.main import main
from braindino.errors import BraindinoError
from braindino.training.signals import TERMINATED
from braindino.training.state import read_state, record_failure

LOG = "log.txt"
INTERRUPTED = 130


# What any machine has: a login node need not have the GPUs that a study asks for.
_ANYWHERE = ("--trainer.accelerator=cpu", "--trainer.devices=1")


def check_study(study: Study, elsewhere: bool) -> None:
    """Raise BraindinoError, with the study's name, for what `braindino probe` would refuse.

    Args:
        elsewhere: the study is for another machine, whose devices are not known here.
    """
    try:
        parse_probe([*study.arguments, *(_ANYWHERE if elsewhere else ())]).datamodule.check_store()
    except BraindinoError as error:
        raise BraindinoError(f"{study.name}: {error}") from None


def run_studies(studies: Sequence[Study], jobs: int) -> dict[Study, str]:
    """Run studies, `jobs` at a time, and print a line when one ends.

    One job works in this process; more each in a process of their own, so that one that dies (out of memory)
    costs its study only.

    Returns:
        The studies that failed, and why.

    Raises:
        KeyboardInterrupt: a study was interrupted; none is begun after it, and those on their way end.
    """
    failed: dict[Study, str] = {}
    if jobs == 1:
        for number, study in enumerate(studies, start=1):
            _tell(study, run_study(study, apart=False), failed, f"{number}/{len(studies)}")
        return failed
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(run_study, study, apart=True): study for study in studies}
        try:
            for number, future in enumerate(as_completed(running), start=1):
                _tell(running[future], future.result(), failed, f"{number}/{len(studies)}")
        except KeyboardInterrupt:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return failed


def run_study(study: Study, apart: bool) -> float | str:
    """Run one study; what it prints goes into `log.txt` of its run folder.

    Args:
        apart: in a process of its own.

    Returns:
        The seconds it took, or why it failed.

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
                code = _here(study)
    if code == INTERRUPTED or (code == TERMINATED and not apart):
        raise KeyboardInterrupt
    if code == 0:
        return time.monotonic() - started
    reason = _reason(study.folder / LOG, code)
    if read_state(study.folder)["state"] not in ("failed", "running"):  # running: by another process
        record_failure(study.folder, reason)
    return reason


def submit(studies: Sequence[Study], cluster: dict[str, Any], folder: Path) -> list[str]:
    """Hand the studies to SLURM as one array, a job each; returns the ids. Without SLURM they run here.

    Raises:
        BraindinoError: submitit is not installed, or does not know something in `cluster`.
    """
    try:
        import submitit
    except ImportError:
        raise BraindinoError("--submit needs submitit: `pip install 'braindino[cluster]'`.") from None
    executor = submitit.AutoExecutor(folder=folder / "submitted" / "%j")
    try:
        # by itself submitit would end a job after five minutes, on this machine after two
        executor.update_parameters(**{"name": "braindino-bench", "timeout_min": 24 * 60, **cluster})
    except (NameError, TypeError, ValueError) as error:
        raise BraindinoError(f"--cluster: {error}") from None
    return [job.job_id for job in executor.map_array(partial(run_study, apart=False), studies)]


def _here(study: Study) -> int:
    try:
        return main(["probe", *study.arguments])
    except Exception:  # a defect, which must not stop the other studies and must be seen in the log
        traceback.print_exc()
        return 1


def _reason(log: Path, code: int) -> str:
    """Why a study failed: its error in one line, or the last line it wrote."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line]
    told = [line.partition("braindino: error: ")[2] for line in lines if "braindino: error: " in line]
    if told:
        return told[-1]
    if code < 0:
        return f"its process died of signal {-code} (9: out of memory, usually)"
    return lines[-1] if lines else f"exit code {code}"


def _tell(study: Study, outcome: float | str, failed: dict[Study, str], number: str) -> None:
    if isinstance(outcome, str):
        failed[study] = outcome
        told = f"FAILED: {outcome} (all of it: {study.folder / LOG})"
    else:
        told = f"done in {outcome:.0f} s"
    tqdm.write(f"[{number}] {study.name}: {told}")  # above a bar, if there is one
    sys.stdout.flush()
