"""Signals between steps: all processes end after the same one, and save."""

import os
import signal
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.trainer.connectors.signal_connector import _SignalConnector
from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch import Tensor

from braindino.training.callbacks import Checkpoints
from braindino.training.run_folder import FitOptions
from braindino.training.signals import SignalListener, exit_on_sigterm
from tests.helpers.processes import run_processes
from tests.helpers.slices import FakeSlices
from tests.helpers.tiny_module import tiny_module, trainer


class SendSignal(pl.Callback):
    """Send one process a signal in the middle of a step."""

    def __init__(self, step: int, rank: int, number: signal.Signals) -> None:
        self.step, self.rank, self.number = step, rank, number

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            os.kill(os.getpid(), self.number)


def _train(
    rank: int, world: int, folder: str, steps: int, signal_step: int | None, resume: bool
) -> tuple[bool, int, Tensor]:
    """Train, and return whether a signal ended it, after which step, and the weights."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    options = FitOptions(Path(folder), id="a", checkpoint_every=1000)
    callbacks: list[pl.Callback] = [Checkpoints(options)]
    if signal_step is not None:
        callbacks.append(SendSignal(signal_step, world - 1, signal.SIGTERM))
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
def test_checkpoints_end_both_processes_at_a_signal_to_one_and_resume_bit_for_bit(tmp_path: Path) -> None:
    whole = run_processes(_train, 2, str(tmp_path / "whole"), 5, None, False)
    cut = run_processes(_train, 2, str(tmp_path / "cut"), 5, 1, False)
    assert [(ended, step) for ended, step, _ in cut] == [(True, 2), (True, 2)]
    (checkpoint,) = (tmp_path / "cut" / "pretrain" / "a" / "checkpoints").iterdir()
    assert checkpoint.name == "step0000002.ckpt"
    again = run_processes(_train, 2, str(tmp_path / "cut"), 5, None, True)
    for (ended, step, weights), (_, _, expected) in zip(again, whole, strict=True):
        assert (ended, step) == (False, 5)
        assert torch.equal(weights, expected)


def test_checkpoints_of_a_run_ended_repeatedly_are_two(tmp_path: Path) -> None:
    options = FitOptions(tmp_path, id="a", checkpoint_every=1000)
    for signal_step in (1, 3, 5, None):
        checkpoints = sorted(options.checkpoints.glob("*.ckpt"))
        t = trainer(
            7,
            callbacks=[
                Checkpoints(options),
                *([] if signal_step is None else [SendSignal(signal_step, 0, signal.SIGTERM)]),
            ],
            enable_checkpointing=True,
            default_root_dir=tmp_path,
        )
        with nullcontext() if signal_step is None else pytest.raises(SIGTERMException):
            t.fit(
                tiny_module(),
                FakeSlices(),
                ckpt_path=checkpoints[-1] if checkpoints else None,
                weights_only=True,
            )
    names = sorted(file.name for file in options.checkpoints.iterdir())
    assert names == ["step0000006.ckpt", "step0000007.ckpt"]


def test_checkpoints_keep_the_newest_whatever_the_clocks_show(tmp_path: Path) -> None:
    """A requeued job may run on a machine whose clock is behind."""
    options = FitOptions(tmp_path, id="a", checkpoint_every=1000)
    options.checkpoints.mkdir(parents=True)
    for step, age in ((7, 0), (8, -1000), (9, -2000)):  # strategies that split a checkpoint write folders
        (options.checkpoints / f"step{step:07d}.ckpt").mkdir()
        later = time.time() + 10_000 + age
        os.utime(options.checkpoints / f"step{step:07d}.ckpt", (later, later))
    t = trainer(1, callbacks=[Checkpoints(options)], enable_checkpointing=True, default_root_dir=tmp_path)
    t.fit(tiny_module(), FakeSlices())
    names = sorted(file.name for file in options.checkpoints.iterdir())
    assert names == ["step0000001.ckpt", "step0000007.ckpt"]


def test_checkpoints_hide_a_signal_during_the_last_save_from_lightning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers: list[int] = []
    monkeypatch.setattr(
        _SignalConnector, "_sigterm_notifier_fn", lambda _, number, __: numbers.append(number)
    )
    save = pl.Trainer.save_checkpoint

    def signal_and_save(self: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        save(self, *args, **kwargs)

    monkeypatch.setattr(pl.Trainer, "save_checkpoint", signal_and_save)
    options = FitOptions(tmp_path, id="a", checkpoint_every=1000)
    t = trainer(1, callbacks=[Checkpoints(options)], enable_checkpointing=True, default_root_dir=tmp_path)
    t.fit(tiny_module(), FakeSlices())
    assert numbers == []
    assert [file.name for file in options.checkpoints.iterdir()] == ["step0000001.ckpt"]


def test_signal_listener_stop_interrupt_leaves_ctrl_c_only() -> None:
    def other(*_: Any) -> None:
        raise AssertionError("Lightning's handler, which would speak to the other processes")

    before = signal.getsignal(signal.SIGINT), signal.signal(signal.SIGTERM, other)
    listener = SignalListener()
    try:
        listener.start(1)
        assert signal.getsignal(signal.SIGINT) != before[0]
        listener.stop_interrupt()
        assert signal.getsignal(signal.SIGINT) == before[0]
        os.kill(os.getpid(), signal.SIGTERM)
        assert listener.received() == signal.SIGTERM
    finally:
        listener.stop()
        assert signal.signal(signal.SIGTERM, before[1]) == other


@pytest.mark.parametrize(
    ("pause", "busy", "ended"), [(0.0, False, False), (5.0, True, False), (5.0, False, True)]
)
def test_signal_listener_ends_at_a_second_sigterm_except_in_a_burst_or_while_saving(
    pause: float, busy: bool, ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`scancel` sends it twice in quick succession; a loader that hangs is ended by the second."""
    clock = [100.0]
    killed: list[int] = []
    monkeypatch.setattr("braindino.training.signals.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("braindino.training.signals.os.kill", lambda _, number: killed.append(number))
    listener = SignalListener()
    listener.start(1)
    try:
        signal.raise_signal(signal.SIGTERM)
        clock[0] += pause
        with listener.writing() if busy else nullcontext():
            signal.raise_signal(signal.SIGTERM)
        assert killed == [signal.SIGTERM] * ended
        assert listener.received() == signal.SIGTERM
    finally:
        listener.stop()


def test_exit_on_sigterm_ends_a_wait_with_code_143() -> None:
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with pytest.raises(SystemExit) as caught, exit_on_sigterm():
            signal.raise_signal(signal.SIGTERM)
        assert caught.value.code == 143
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
