"""Compiled blocks: the same losses, names and checkpoint as without."""

from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import pytest
from torch import nn

from braindino.pretraining.model.blocks import Block
from tests.helpers.slices import FakeSlices
from tests.helpers.tiny_module import tiny_module, trainer


class Losses(pl.Callback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        self.seen.append(float(trainer.callback_metrics["train/loss"]))


@pytest.mark.filterwarnings("ignore")  # of torch's compiler, at its own code
def test_compile_gives_the_same_losses_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced by the compiler, but run without code generation, which takes minutes on a CPU."""
    compiled: list[nn.Module] = []
    compile_: Callable[..., None] = nn.Module.compile

    def traced(self: nn.Module) -> None:
        compiled.append(self)
        compile_(self, backend="eager")

    monkeypatch.setattr(Block, "compile", traced)
    losses = []
    for wanted in (False, True):
        module, recorder = tiny_module(compile=wanted), Losses()
        names = list(module.state_dict())
        trainer(1, callbacks=[recorder]).fit(module, FakeSlices())
        losses.append(recorder.seen)
        assert list(module.state_dict()) == names
    assert len(compiled) == 2  # one block of two, of student and teacher
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
