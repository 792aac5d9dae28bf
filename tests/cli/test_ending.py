"""Signals between steps: agreed on by all processes, saved by all, and back into SLURM's queue."""

import os
import signal
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.fabric.plugins.environments import TorchElasticEnvironment
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from braindino.cli.callbacks import Checkpoints
from braindino.cli.ending import Ending, in_slurm_job, requeue, to_be_requeued
from braindino.cli.run_folder import FitOptions
from tests.pretraining.data import FakeSlices
from tests.pretraining.processes import run_processes
from tests.pretraining.tiny import tiny_module, trainer


class Tell(pl.Callback):
    """Sends one process a signal in the middle of a step."""

    def __init__(self, step: int, rank: int, number: signal.Signals) -> None:
        self.step, self.rank, self.number = step, rank, number

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            os.kill(os.getpid(), self.number)


def _train(
    rank: int, world: int, folder: str, steps: int, told: int | None, resume: bool
) -> tuple[bool, int, Tensor]:
    """Whether it was ended, after which step, and its weights."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    options = FitOptions(Path(folder), id="a", checkpoint_every=1000)
    callbacks: list[pl.Callback] = [Checkpoints(options)]
    if told is not None:
        callbacks.append(Tell(told, world - 1, signal.SIGTERM))
    module = tiny_module()
    t = trainer(
        steps,
        devices=world,
        strategy="ddp",
        plugins=[TorchElasticEnvironment()],
        callbacks=callbacks,
        enable_checkpointing=True,
        default_root_dir=folder,
    )
    last = max(options.checkpoints.glob("*.ckpt")) if resume else None
    ended = False
    try:
        t.fit(module, FakeSlices(), ckpt_path=last, weights_only=True)
    except SIGTERMException:
        ended = True
    weights = torch.cat([p.detach().flatten() for p in module.parameters()])
    return ended, t.global_step, weights


@pytest.mark.filterwarnings("ignore:.*use_fork.*", "ignore:.*multi-threaded, use of fork.*")
def test_a_signal_to_one_of_two_processes_ends_both_and_the_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = run_processes(_train, 2, str(tmp_path / "whole"), 5, None, False)
    cut = run_processes(_train, 2, str(tmp_path / "cut"), 5, 1, False)
    assert [(ended, step) for ended, step, _ in cut] == [(True, 2), (True, 2)]
    (kept,) = (tmp_path / "cut" / "pretrain" / "a" / "checkpoints").iterdir()
    assert kept.name == "step0000002.ckpt"
    again = run_processes(_train, 2, str(tmp_path / "cut"), 5, None, True)
    for (ended, step, weights), (_, _, expected) in zip(again, whole, strict=True):
        assert (ended, step) == (False, 5)
        assert torch.equal(weights, expected)


def test_while_all_is_written_further_signals_but_ctrl_c_change_nothing() -> None:
    def other(*_: Any) -> None:
        raise AssertionError("Lightning's handler, which would speak to the other processes")

    before = signal.getsignal(signal.SIGINT), signal.signal(signal.SIGTERM, other)
    ending = Ending()
    try:
        ending.listen(1)
        assert signal.getsignal(signal.SIGINT) != before[0]
        ending.be_deaf()
        assert signal.getsignal(signal.SIGINT) == before[0]
        os.kill(os.getpid(), signal.SIGTERM)
        assert ending.asked() == signal.SIGTERM
    finally:
        ending.listen_no_more()
        assert signal.signal(signal.SIGTERM, before[1]) == other


SHOWN = "JobId=4711 JobName=a JobState={} Reason=None StartTime=0 EndTime={} Deadline=N/A SuspendTime=None\n"


@pytest.mark.parametrize(
    ("sent", "state", "limit", "expected"),
    [
        (signal.SIGUSR1, "RUNNING", "10000", True),
        (signal.SIGUSR1, "CANCELLED", "1000", False),
        (signal.SIGTERM, "RUNNING", "1180", True),
        (signal.SIGTERM, "RUNNING", "10000", False),  # preemption with time to save, or a signal sent by hand
        (signal.SIGTERM, "RUNNING", "Unknown", False),  # no limit
        (signal.SIGTERM, "CANCELLED", "1000", False),  # scancel: SLURM takes its time for the end
        (signal.SIGTERM, "COMPLETING", "1180", False),
        (signal.SIGTERM, "PENDING", "Unknown", False),  # SLURM has put it back already
        (signal.SIGINT, "RUNNING", "1180", False),
    ],
)
def test_the_time_limit_requeues_and_scancel_does_not(
    sent: signal.Signals, state: str, limit: str, expected: bool
) -> None:
    assert to_be_requeued(sent, SHOWN.format(state, limit), now=1_000.0) == expected


def stand_in(folder: Path, code: int) -> None:
    """An scontrol that writes down how it was called, and knows a job that runs."""
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


@pytest.mark.parametrize("there", [True, False])
def test_a_requeue_that_fails_is_told(there: bool, job: Path, caplog: pytest.LogCaptureFixture) -> None:
    if there:
        stand_in(job, 1)
    requeue(signal.SIGUSR1)
    assert "job 4711 could not be requeued" in caplog.text
    assert ("(no)" in caplog.text) == there
    assert "--run.id" in caplog.text


def test_an_interactive_shell_of_slurm_is_no_job(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_slurm_job()
    monkeypatch.setenv("SLURM_JOB_NAME", "bash")
    assert not in_slurm_job()
