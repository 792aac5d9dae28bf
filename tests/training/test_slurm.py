"""Jobs and shells of SLURM: names of runs, and the conditions for a requeue."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_only

from braindino.cli.main import main
from braindino.errors import BraindinoError
from braindino.training.run_folder import default_id
from braindino.training.slurm import (
    check_tasks,
    in_interactive_step,
    in_slurm_job,
    requeue,
    should_requeue,
)

SHOWN = "JobId=4711 JobName=a JobState={} Reason=None StartTime=0 EndTime={} Deadline=N/A SuspendTime=None\n"


@pytest.mark.parametrize(
    ("sent", "state", "limit", "expected"),
    [
        (signal.SIGUSR1, "RUNNING", "10000", True),
        (signal.SIGUSR1, "CANCELLED", "1000", False),
        (signal.SIGTERM, "RUNNING", "1180", True),
        (signal.SIGTERM, "RUNNING", "10000", False),  # a signal sent by hand
        (signal.SIGTERM, "RUNNING", "Unknown", False),  # no limit
        (signal.SIGTERM, "CANCELLED", "1000", False),  # scancel: SLURM takes its time for the end
        (signal.SIGTERM, "COMPLETING", "1180", False),
        (signal.SIGTERM, "PENDING", "Unknown", False),  # SLURM has put it back already
        (signal.SIGINT, "RUNNING", "1180", False),
    ],
)
def test_should_requeue_at_the_time_limit_but_not_after_scancel(
    sent: signal.Signals, state: str, limit: str, expected: bool
) -> None:
    assert should_requeue(sent, SHOWN.format(state, limit), now=1_000.0) == expected


def stand_in(folder: Path, code: int) -> None:
    """Write an scontrol that records its arguments, and shows a job that runs."""
    file = folder / "scontrol"
    file.write_text(
        f'#!/bin/bash\necho "$SLURM_TIME_FORMAT $@" >> {folder}/called\n'
        f'echo "{SHOWN.format("RUNNING", 0).strip()}"\necho no >&2\n[ $1 = show ] || exit {code}\n'
    )
    file.chmod(0o755)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [n for n in os.environ if n.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def test_requeue_of_a_job_and_of_a_task_of_an_array(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(job, 0)
    requeue(signal.SIGTERM)
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "4700")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    requeue(signal.SIGUSR1)
    called = (job / "called").read_text().splitlines()
    assert called == [
        f"%s {verb} {number}" for number in ("4711", "4700_3") for verb in ("show --oneliner job", "requeue")
    ]


@pytest.mark.parametrize("responds", [True, False])
def test_requeue_that_fails_is_logged(responds: bool, job: Path, caplog: pytest.LogCaptureFixture) -> None:
    if responds:
        stand_in(job, 1)
    requeue(signal.SIGUSR1)
    assert "job 4711 could not be requeued" in caplog.text
    assert ("(no)" in caplog.text) == responds
    assert "--run.id" in caplog.text


def test_requeue_logs_an_scontrol_that_hangs(
    job: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (job / "scontrol").write_text("#!/bin/bash\nexec sleep 60\n")
    (job / "scontrol").chmod(0o755)
    monkeypatch.setattr("braindino.training.slurm.SCONTROL_TIMEOUT", 0.2)
    requeue(signal.SIGUSR1)
    assert "could not be requeued (scontrol did not respond in 0.2 seconds)" in caplog.text


def test_requeue_reads_output_that_is_not_utf_8(job: Path) -> None:
    stand_in(job, 0)
    file = job / "scontrol"
    file.write_bytes(file.read_bytes().replace(b"Reason=None", b"Comment=gr\xfcn"))
    requeue(signal.SIGUSR1)
    assert (job / "called").read_text().splitlines()[-1] == "%s requeue 4711"


def test_slurm_id_is_the_number_of_a_batch_job(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_slurm_job()
    assert default_id() == "slurm-4711"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "4700")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert default_id() == "slurm-4700-3"


@pytest.mark.parametrize("name", ["bash", "interactive"])
def test_slurm_id_of_a_shell_is_none(name: str, job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_NAME", name)
    monkeypatch.setenv("BRAINDINO_RUN_ID", "date-and-time")
    assert not in_slurm_job()
    assert default_id() == "date-and-time"
    for step in ("0", "1"):  # `srun` within `salloc`, twice
        monkeypatch.setenv("SLURM_STEP_ID", step)
        monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
        assert default_id() == f"slurm-4711-step{step}"


def test_in_interactive_step_of_tasks_within_salloc(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning by itself sees a shell, and would start a group of two from each of the two."""
    variables = {"JOB_NAME": "interactive", "NTASKS": "2", "NTASKS_PER_NODE": "2", "STEP_NUM_TASKS": "2"}
    variables |= {"STEP_ID": "0", "PROCID": "1", "LOCALID": "1", "NODEID": "0"}
    for key, value in variables.items():
        monkeypatch.setenv(f"SLURM_{key}", value)
    command = ["fit", "--config", "pretrain_tiny.yaml", "--trainer.devices", "2", "--run.root", str(job)]
    monkeypatch.setattr(rank_zero_only, "rank", 0)  # put back when this test ends: the trainer changes it
    (job / "store").mkdir()
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(
        Trainer, "fit", lambda self, *_, **__: seen.append((self.global_rank, self.world_size))
    )
    assert main([*command, "--data.store", str(job / "store")]) == 0
    assert seen == [(1, 2)]


def test_in_interactive_step_is_false_in_a_shell_with_a_terminal(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`srun --ntasks 4 --pty bash`: the other three ended at once, and to wait for them would be for ever."""
    variables = {"JOB_NAME": "bash", "STEP_NUM_TASKS": "4", "STEP_ID": "0", "PTY_PORT": "40000"}
    for key, value in variables.items():
        monkeypatch.setenv(f"SLURM_{key}", value)
    monkeypatch.setattr("braindino.training.slurm._has_terminal", lambda: True)
    assert not in_interactive_step()
    check_tasks(1)
    monkeypatch.setattr("braindino.training.slurm._has_terminal", lambda: False)  # `srun` in that shell
    assert in_interactive_step()
    with pytest.raises(BraindinoError):
        check_tasks(1)


def test_has_terminal_of_a_process_with_and_without_one() -> None:
    look = "from braindino.training.slurm import _has_terminal; raise SystemExit(7 if _has_terminal() else 8)"
    # the first terminal that the leader of a session opens is that of the session
    taken = f"import os, sys; os.open(sys.argv[1], os.O_RDWR); {look}"
    ends = pty.openpty()
    try:
        for code, expected in ((look, 8), (taken, 7)):
            command = [sys.executable, "-c", code, os.ttyname(ends[1])]
            assert subprocess.run(command, start_new_session=True, check=False).returncode == expected
    finally:
        for end in ends:
            os.close(end)


def test_check_tasks_refuses_tasks_that_would_each_run_alone(
    job: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for key, value in {"NTASKS": "2", "NTASKS_PER_NODE": "2", "STEP_NUM_TASKS": "2", "PROCID": "0"}.items():
        monkeypatch.setenv(f"SLURM_{key}", value)
    (job / "store").mkdir()
    command = ["fit", "--config", "pretrain_tiny.yaml", "--data.store", str(job / "store")]
    assert main([*command, "--run.root", str(job)]) == 2  # the config has one device
    assert "srun started 2 tasks, but trainer.devices times trainer.num_nodes is 1" in capsys.readouterr().err
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    assert main([*command, "--run.root", str(job), "--trainer.devices", "2"]) == 2
    assert "Use `--ntasks-per-node=2` instead" in capsys.readouterr().err


def test_check_tasks_accepts_torchrun_on_each_of_two_nodes(
    job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    with pytest.raises(BraindinoError):
        check_tasks(4)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    check_tasks(4)
