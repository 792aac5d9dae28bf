"""SwinUNETRModule: published sizes, and its start from a pretraining run."""

from pathlib import Path

import pytest

from braindino.brainsegfounder import SwinSSLModule, SwinUNETRModule
from braindino.brainsegfounder.optimiser import SwinOptimiserConfig
from braindino.encoders.volumes.swin import DEPTHS, SwinShape
from braindino.encoders.weight_files import read_file
from braindino.scans.seen import Seen
from tests.helpers.balls import masked
from tests.helpers.swin import TINY, data_of, segmentation_data, segmentation_trainer, train

__all__ = ["masked"]  # the fixture


def test_swin_unetr_module_starts_from_stage_2(masked: Path, volumes: Path, tmp_path: Path) -> None:
    first = SwinSSLModule(**TINY, optimiser=SwinOptimiserConfig(warmup_steps=0))
    train(first, data_of(volumes, modalities=("T1w",)), 1, tmp_path).save_checkpoint(tmp_path / "one.ckpt")
    second = SwinSSLModule(**TINY, init_from=str(tmp_path / "one.ckpt"))
    trainer = train(second, data_of(volumes, modalities=("FLAIR", "T1w")), 1, tmp_path)
    assert "1 inflated (patch_embed.proj.weight), 0 missing, 0 unexpected" in second.start
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    third = SwinUNETRModule(**TINY, norm="group", init_from=str(tmp_path / "two.ckpt"), resamples=0)
    trainer = segmentation_trainer(tmp_path, 1, limit_val_batches=1)
    trainer.fit(third, segmentation_data(masked))
    assert ", 0 inflated, 0 missing, 0 unexpected" in third.start
    moved = [
        float((value - third.network.get_submodule("swinViT").state_dict()[name]).abs().max())
        for name, value in second.encoder.state_dict().items()
    ]
    assert max(moved) < 1e-3  # one step away from stage 2


@pytest.mark.parametrize(("name", "millions"), [("tiny", 62), ("small", 64), ("big", 70)])
def test_swin_unetr_module_has_the_published_number_of_parameters(name: str, millions: int) -> None:
    module = SwinUNETRModule(depth=name)
    module.shape = SwinShape(channels=("flair", "t1ce", "t1", "t2"), depths=DEPTHS[name])
    module.regions = ("WT", "TC", "ET")
    assert round(sum(p.numel() for p in module.network_of_shape().parameters()) / 1e6) == millions


def test_swin_unetr_records_people_of_its_cases_and_of_its_start_from_python(
    masked: Path, volumes: Path, tmp_path: Path
) -> None:
    """A plain `Trainer.fit` records them in every checkpoint, those with weights only included."""
    (tmp_path / "out").write_text("a:0\na:1\n")
    start = data_of(volumes, exclude=tmp_path / "out", batch_size=2)
    train(SwinSSLModule(**TINY), start, 1, tmp_path).save_checkpoint(tmp_path / "ssl.ckpt")
    data = segmentation_data(masked)
    trainer = segmentation_trainer(tmp_path, 1, limit_val_batches=1, val_check_interval=1)
    trainer.fit(SwinUNETRModule(**TINY, norm="group", init_from=str(tmp_path / "ssl.ckpt")), data)
    trainer.save_checkpoint(tmp_path / "whole.ckpt")
    people = set(data.scans.loc[data.scans["split"] == "train", "group"])
    assert people
    for name in ("whole.ckpt", "best.ckpt"):
        seen = Seen.of_checkpoint(read_file(tmp_path / name))
        assert seen is not None
        assert (seen.people, seen.gaps) == (people | {"a:2", "a:3"}, ())
        assert seen.scans == data.trained_on().scans | start.trained_on().scans
