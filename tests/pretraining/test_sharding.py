"""FSDP on two CPU processes: equal to DDP, with sharded weights and one checkpoint file."""

import os
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from matplotlib.image import imread
from torch import Tensor
from torch.distributed.tensor import DTensor

from braindino.datasets.pretraining.slices import SliceDataModule
from braindino.encoders.checkpoints import load_encoder
from braindino.errors import BraindinoError
from braindino.pretraining import KNNMonitor, OnlineProbe, PatchPictures, Sharded
from tests.helpers.loggers import RowsLogger
from tests.helpers.processes import run_processes
from tests.helpers.slices import FakeSlices
from tests.helpers.stores import make_store
from tests.helpers.tiny_module import tiny_module, trainer

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*use_fork.*", "ignore:.*multi-threaded, use of fork.*", "ignore:.*returned a view tensor.*"
)


class Parts(pl.Callback):
    """Measure the share of the weights on this process between two steps; save at the end to `out`."""

    def __init__(self, out: str) -> None:
        self.out = out
        self.share: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        self.losses.append(float(trainer.callback_metrics["train/loss"]))
        whole = sum(p.numel() for p in pl_module.parameters())
        local = sum(p.to_local().numel() for p in pl_module.parameters() if isinstance(p, DTensor))
        self.share.append(local / whole)
        if self.out and trainer.global_step == trainer.max_steps:
            trainer.save_checkpoint(self.out)


def _train(
    rank: int, world: int, sharded: bool, steps: int, source: str | None, out: str
) -> tuple[list[float], list[float]]:
    """Train, save to `out`, and return losses and shares of the weights of every step."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    strategy: Any = Sharded() if sharded else "ddp"
    parts = Parts(out)
    t = trainer(
        steps, devices=world, strategy=strategy, plugins=[TorchElasticEnvironment()], callbacks=[parts]
    )
    t.fit(tiny_module(drop_path=0.0), FakeSlices(), ckpt_path=source, weights_only=True)
    return parts.losses, parts.share


def state(path: Path) -> dict[str, Tensor]:
    values: dict[str, Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return values


def assert_close(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=1e-4, atol=1e-5, msg=name)


def test_sharded_equals_ddp_continues_and_saves_one_file_that_export_reads(tmp_path: Path) -> None:
    """Losses, clipped steps, moving average; the checkpoint goes on with either strategy."""
    plain, half, more, again = (tmp_path / f"{name}.ckpt" for name in ("plain", "half", "more", "again"))
    expected = run_processes(_train, 2, False, 4, None, str(plain))
    cut = run_processes(_train, 2, True, 2, None, str(half))
    rest = run_processes(_train, 2, True, 4, str(half), str(more))
    run_processes(_train, 2, False, 4, str(half), str(again))
    for (losses, _), (first, share), (second, _) in zip(expected, cut, rest, strict=True):
        assert losses == pytest.approx(first + second, rel=1e-4)
        assert all(s < 0.6 for s in share)
    assert_close(state(more), state(plain))
    assert_close(state(again), state(plain))
    x = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(
            load_encoder(str(more))(x), load_encoder(str(plain))(x), rtol=1e-4, atol=1e-4
        )


def test_check_trainer_refuses_a_strategy_that_cannot_split_the_blocks() -> None:
    from lightning.pytorch.strategies import ModelParallelStrategy

    t = trainer(1, strategy=ModelParallelStrategy(1, 1), devices=1)
    module = tiny_module()
    module.trainer = t
    t.datamodule = FakeSlices()  # type: ignore[attr-defined]
    with pytest.raises(BraindinoError, match=r"--trainer\.strategy braindino\.pretraining\.Sharded"):
        module.setup("fit")


def _watch(rank: int, world: int, sharded: bool, folder: str) -> tuple[list[float], list[float], list[float]]:
    """Return kNN accuracies and online AUROCs that this process logged, and the losses."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    os.environ |= {"TORCHELASTIC_RUN_ID": "x", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    logger, parts = RowsLogger(), Parts("")
    manifest = Path(folder, "all.csv")
    monitors = [
        KNNMonitor(manifest, "shape", every=2, slices=2),
        OnlineProbe(manifest, "shape", every_n_steps=2, scans=15, slices=2),
        PatchPictures(every=3),
    ]
    t = trainer(
        5,
        devices=world,
        strategy=Sharded() if sharded else "ddp",
        plugins=[TorchElasticEnvironment()],
        callbacks=[*monitors, parts],
        logger=logger,
        default_root_dir=str(Path(folder, "sharded" if sharded else "ddp")),
    )
    t.fit(tiny_module(drop_path=0.0), SliceDataModule(Path(folder, "store"), batch_size=4, num_workers=0))
    accuracies, scores = (list(logger.values(name).values()) for name in ("knn/accuracy", "val/online_auroc"))
    return accuracies, scores, parts.losses


def test_sharded_monitors_see_the_whole_teacher(tmp_path: Path) -> None:
    """The first process logs and draws what it does without sharding, and the training goes on as before."""
    folder = make_store(tmp_path, 20)
    plain = run_processes(_watch, 2, False, str(folder))
    spread = run_processes(_watch, 2, True, str(folder))
    for (accuracies, scores, losses), expected in zip(spread, plain, strict=True):
        assert accuracies == expected[0]
        assert scores == pytest.approx(expected[1])
        assert losses == pytest.approx(expected[2], rel=1e-4)
    assert len(plain[0][0]) == len(plain[0][1]) == 2
    assert not plain[1][0]
    assert not plain[1][1]
    first, second = (
        imread(folder / name / "pictures" / "patches_step0000003.png") for name in ("ddp", "sharded")
    )
    np.testing.assert_allclose(second, first, atol=0.05)
