import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from braindino.datasets.pretraining.slices import SliceDataModule
from braindino.errors import BraindinoError
from braindino.scans.store.store import Store


def module(store: Path, **options: Any) -> SliceDataModule:
    built = SliceDataModule(store, **{"batch_size": 5, "num_workers": 0, "steps_per_epoch": 6} | options)
    built.setup()
    return built


def drawn(batches: list[dict[str, torch.Tensor]]) -> list[tuple[int, int]]:
    return [
        pair
        for batch in batches
        for pair in zip(batch["scan"].tolist(), batch["slice"].tolist(), strict=True)
    ]


def test_slices_of_a_batch_equal_the_store(store: Path) -> None:
    data = module(store)
    batch = next(iter(data.train_dataloader()))
    assert {name: (tuple(t.shape), t.dtype) for name, t in batch.items()} == {
        "slices": ((5, 16, 16), torch.uint8),
        "scale": ((5,), torch.float32),
        "zero_point": ((5,), torch.float32),
        "scan": ((5,), torch.int64),
        "slice": ((5,), torch.int64),
    }
    opened = Store.open(store)
    for i in range(5):
        row = data.scans.iloc[int(batch["scan"][i])]
        assert row["first"] <= batch["slice"][i] <= row["last"]
        assert torch.equal(batch["slices"][i], torch.tensor(opened.slice(row["key"], int(batch["slice"][i]))))
        assert batch["scale"][i] == pytest.approx(row["scale"])
        assert batch["zero_point"][i] == row["zero_point"]
    assert data.contract == opened.contract


@pytest.mark.parametrize("workers", [0, 2])
def test_slices_do_not_depend_on_workers_and_resume(store: Path, workers: int) -> None:
    whole = module(store)
    expected = drawn([*whole.train_dataloader(), *whole.train_dataloader()])
    first = module(store, num_workers=workers)
    batches = []
    loader = iter(first.train_dataloader())
    for _ in range(4):
        batches.append(next(loader))
    state = first.state_dict()
    assert state["batches"] == 4  # without batches that workers loaded in advance
    del loader
    second = SliceDataModule(store, 5, workers, steps_per_epoch=6)
    second.load_state_dict(state)
    second.setup()
    rest = second.train_dataloader()
    remainder = list(rest)
    assert len(remainder) == 2
    assert drawn([*batches, *remainder, *rest]) == expected


def test_slices_workers_ignore_signals(store: Path) -> None:
    loader = module(store, num_workers=1).train_dataloader()
    batches = iter(loader)
    next(batches)
    for process in multiprocessing.active_children():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            os.kill(int(process.pid or 0), number)
    assert len(list(batches)) == 5


def test_slices_of_two_ranks_equal_those_of_one(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = module(store, batch_size=10)
    parts = []
    for rank in (0, 1):
        half = module(store)
        monkeypatch.setattr(half, "_world", lambda rank=rank: (rank, 2))
        parts.append(list(half.train_dataloader()))
    for whole, left, right in zip(one.train_dataloader(), *parts, strict=True):
        assert drawn([whole])[0::2] == drawn([left])
        assert drawn([whole])[1::2] == drawn([right])


def test_slices_continue_with_another_batch_size(store: Path) -> None:
    data = module(store)
    expected = drawn(list(data.train_dataloader()))
    half = module(store, steps_per_epoch=3)
    begun = drawn(list(half.train_dataloader()))
    other = SliceDataModule(store, 3, 0, steps_per_epoch=5)
    other.load_state_dict(half.state_dict())
    other.setup()
    assert begun + drawn(list(other.train_dataloader())[:2]) == expected[:21]


def test_slices_epoch_draws_each_scan_once_by_default(store: Path) -> None:
    data = module(store, batch_size=4, steps_per_epoch=None)
    seen = [scan for scan, _ in drawn(list(data.train_dataloader()))]
    assert sorted(seen) == list(range(24))


def test_slices_of_validation_people_are_disjoint_and_fixed(store: Path) -> None:
    data = module(store, val_fraction=0.3, steps_per_epoch=20)
    loader = data.val_dataloader()
    first, again = drawn(list(loader)), drawn(list(loader))
    assert first == again
    assert {scan for scan, _ in first} == set(data.scans.index[data.scans["split"] == "val"])
    train = {scan for scan, _ in drawn(list(data.train_dataloader()))}
    groups = data.scans["group"]
    assert not set(groups[list(train)]) & set(groups[[scan for scan, _ in first]])
    assert set(data.people()["group"]) == set(groups[list(train)])
    assert list(module(store).val_dataloader()) == []
    with pytest.raises(BraindinoError, match="val_fraction"):
        SliceDataModule(store).setup("validate")


def test_slices_test_loader_contains_every_scan_once(store: Path) -> None:
    loader = module(store, batch_size=8, val_fraction=0.3).test_dataloader()
    assert [scan for scan, _ in drawn(list(loader))] == list(range(24))


def test_slices_follow_exclude_and_weights(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.txt").write_text("a:0\nb:1\n")
    data = module(store, exclude=tmp_path / "out.txt")
    assert len(data.scans) == 21
    assert capsys.readouterr().out == f"{tmp_path / 'out.txt'}: excludes 3 scans of 2 people\n"
    assert not {"a:0", "b:1"} & set(data.people()["group"])
    only = module(store, dataset_weights={"a": 0})
    assert set(only.people()["dataset"]) == {"b"}
    thrice = module(store, dataset_weights={"b": 3}, batch_size=24, steps_per_epoch=1)
    scans = thrice.scans["dataset"][[scan for scan, _ in drawn(list(thrice.train_dataloader()))]]
    assert scans.value_counts().to_dict() == {"a": 6, "b": 18}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset_weights": {"c": 1.0}}, "no dataset 'c' in the store, only a, b"),
        ({"dataset_weights": {"a": -1.0}}, "from 0 up"),
        ({"dataset_weights": {"a": 0, "b": 0}}, "no scan is left"),
        ({"val_fraction": 1.0}, "val_fraction"),
        ({"val_fraction": 0.001}, "leaves training or validation"),
        ({"batch_size": 0}, "at least 1"),
        ({"seed": -1}, "negative"),
    ],
)
def test_slices_refuse_wrong_options(store: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(BraindinoError, match=message):
        module(store, **options)


def test_slices_warn_about_another_set_of_scans_on_resuming(store: Path) -> None:
    state = module(store).state_dict()
    other = SliceDataModule(store, dataset_weights={"b": 2})
    other.load_state_dict(state)
    with pytest.warns(UserWarning, match="cannot be repeated"):
        other.setup()


class Recorder(LightningModule):
    """Records its samples and does not train."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        self.seen += drawn([batch])
        return self.weight * 0

    def validation_step(self, batch: dict[str, torch.Tensor]) -> None:
        """Do nothing; the data module may validate."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("stop", [4, 6])
def test_slices_resume_in_lightning_within_and_after_an_epoch(store: Path, tmp_path: Path, stop: int) -> None:
    def trainer(**options: Any) -> Trainer:
        return Trainer(
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
            **options,
        )

    whole = Recorder()
    trainer(max_steps=15).fit(whole, SliceDataModule(store, 5, 0, steps_per_epoch=6))
    assert len(whole.seen) == 75
    part, runner = Recorder(), trainer(max_steps=stop)
    runner.fit(part, SliceDataModule(store, 5, 0, steps_per_epoch=6))
    runner.save_checkpoint(tmp_path / "stop.ckpt")
    rest = Recorder()
    trainer(max_steps=15).fit(
        rest, SliceDataModule(store, 5, 0, steps_per_epoch=6), ckpt_path=tmp_path / "stop.ckpt"
    )
    assert part.seen + rest.seen == whole.seen


class Writer(Recorder):
    """Saves the samples of each rank in a file."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_train_end(self) -> None:
        torch.save(self.seen, self.folder / f"{self.global_rank}.pt")


def test_slices_are_shared_among_processes_in_lightning(store: Path, tmp_path: Path) -> None:
    Trainer(
        accelerator="cpu",
        strategy="ddp_fork",
        devices=2,
        max_steps=4,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    ).fit(Writer(tmp_path), SliceDataModule(store, 5, 0, steps_per_epoch=6))
    expected = drawn(list(module(store, batch_size=10, steps_per_epoch=4).train_dataloader()))
    left, right = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert left == expected[0::2]
    assert right == expected[1::2]
