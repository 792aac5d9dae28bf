"""Test the checkpoints of a cell: interrupted between two epochs it ends with the same bytes."""

import json

import lightning.pytorch as pl
import numpy as np
import pytest
import torch

from braindino.probing import ClassificationHead, FrozenProbeModule, Protocol, run_study
from braindino.probing.resume import FILE, CellCheckpoint

FAST = {"seeds": [0], "max_epochs": 6, "patience": 6, "resamples": 0, "baselines": False}


class Stop(pl.Callback):
    """Ctrl-C in the middle of an epoch, or after its validation."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_end(self, trainer, *args):
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


def stopping(make_trainer, epoch):
    def make(callbacks=(), **options):
        return make_trainer(callbacks=[*callbacks, Stop(epoch)] if callbacks else None, **options)

    return make


def files(folder):
    return {p.name: p.read_bytes() for p in sorted((folder / "cells").rglob("*")) if p.is_file()}


@pytest.fixture(autouse=True)
def _after_every_epoch(monkeypatch):
    monkeypatch.setattr("braindino.probing.resume.EVERY", 0.0)
    monkeypatch.setattr("braindino.probing.resume.SHARE", 0.0)


@pytest.mark.parametrize("cache", [True, False])  # features, or the encoder in the loop with augmentation
def test_cell_checkpoint_continues_to_the_bit(tmp_path, planted, encoder, make_trainer, cache):
    def run(name, trainers):
        module = FrozenProbeModule("tiny", ClassificationHead(), lr=3e-3, batch_size=2)
        run_study(module, planted(), Protocol(cache=cache, **FAST), trainers, tmp_path / name, encoder)

    run("whole", make_trainer)
    cell = tmp_path / "cut" / "cells" / "seed0_fraction1.0"
    for epoch in (0, 2, 4):
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            run("cut", stopping(make_trainer, epoch))
        assert (cell / FILE).exists() == (epoch > 0)
    epochs = []

    def watched(callbacks=(), **options):
        seen = pl.callbacks.LambdaCallback(on_train_epoch_start=lambda t, m: epochs.append(t.current_epoch))
        return make_trainer(callbacks=[*callbacks, seen], **options)

    run("cut", watched)
    assert epochs == [4, 5]
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_cell_checkpoint_that_is_damaged_is_removed_with_a_notice(tmp_path, caplog):
    for content in (b"half", b""):
        (tmp_path / FILE).write_bytes(content)
        assert CellCheckpoint(tmp_path, ()).start() is None
        assert not (tmp_path / FILE).exists()
    torch.save({"callbacks": {}}, tmp_path / FILE)
    assert CellCheckpoint(tmp_path, ()).start() is None
    assert caplog.text.count("the cell starts from its beginning") == 3


def test_cell_checkpoint_restores_the_order_of_batches(tmp_path):
    class Sampler:
        random = np.random.default_rng(3)

    sampler = Sampler()
    state = json.dumps(sampler.random.bit_generator.state)
    expected = sampler.random.random(3)
    unfinished = CellCheckpoint(tmp_path, sampler)
    torch.save({"callbacks": {unfinished.state_key: {"batches": state}}}, unfinished.path)
    assert unfinished.start() == unfinished.path
    assert (sampler.random.random(3) == expected).all()
