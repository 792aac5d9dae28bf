"""DynUNetModule: the control of SwinUNETR, trained and tested in the same way."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from braindino.analysis.comparison.differences import compare_pairings
from braindino.analysis.comparison.pairing import pair_predictions
from braindino.analysis.predictions import read_predictions
from braindino.analysis.runs import Run
from braindino.brainsegfounder import DynUNetModule, SegmentationModule, SwinUNETRModule
from braindino.brainsegfounder.optimiser import SwinOptimiserConfig
from braindino.encoders.weight_files import read_file
from braindino.errors import BraindinoError
from braindino.scans.seen import Seen
from tests.helpers.balls import masked
from tests.helpers.swin import TINY, segmentation_data, segmentation_trainer

__all__ = ["masked"]  # the fixture


def parameters(module: SegmentationModule) -> int:
    """Return the number of parameters of a module's network for BraTS: four channels, three regions."""
    module.regions = ("WT", "TC", "ET")
    data: Any = SimpleNamespace(modalities=("FLAIR", "T1c", "T1w", "T2w"))
    return sum(p.numel() for p in module.build(data).parameters())


def test_dyn_unet_module_segments_lesions_and_writes_files_of_a_probe(masked: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    optimiser = SwinOptimiserConfig(lr=1e-2, weight_decay=0.0, warmup_steps=3)
    module = DynUNetModule(width=8, norm="group", resamples=50, optimiser=optimiser)
    data = segmentation_data(masked)
    trainer = segmentation_trainer(tmp_path, 45, check_val_every_n_epoch=5)
    trainer.fit(module, data)
    best = tmp_path / "best.ckpt"
    (scores,) = trainer.test(module, data, ckpt_path=str(best), weights_only=True, verbose=False)
    assert scores["test/dice_ball"] > 0.6  # all voxels: below 0.1
    assert set(read_predictions(tmp_path / "predictions.csv")["split"]) == {"val", "test"}
    results = Run(tmp_path).results
    assert results["encoder"]["name"] == "unet"
    assert results["audit"]["pretraining"]["people"] == 0
    seen = Seen.of_checkpoint(read_file(best))
    assert seen is not None
    assert seen.people == set(data.scans.loc[data.scans["split"] == "train", "group"])


class Recorder(SegmentationModule):
    """Records the crops that a module trains on, after the random changes."""

    crops: list[torch.Tensor]

    def _augment(self, batch: Any, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        volumes, labels = super()._augment(batch, number)
        self.crops = [*getattr(self, "crops", []), volumes.clone()]
        return volumes, labels


class RecordedUNet(Recorder, DynUNetModule):
    """DynUNetModule with its crops."""


class RecordedSwin(Recorder, SwinUNETRModule):
    """SwinUNETRModule with its crops."""


def test_dyn_unet_module_is_paired_with_swin_unetr(masked: Path, tmp_path: Path) -> None:
    """Same crops, same test cases, and a difference with its interval."""
    modules = {
        "swin": RecordedSwin(**TINY, norm="group", resamples=0),
        "unet": RecordedUNet(width=4, norm="group", resamples=0),
    }
    for name, module in modules.items():
        folder = tmp_path / name
        trainer = segmentation_trainer(folder, 3, limit_val_batches=1, enable_checkpointing=False)
        trainer.fit(module, segmentation_data(masked))
        trainer.test(module, segmentation_data(masked), verbose=False)
    for swin, unet in zip(modules["swin"].crops, modules["unet"].crops, strict=True):
        torch.testing.assert_close(swin, unet, rtol=0, atol=0)
    tables = [Run(tmp_path / name).predictions for name in modules]
    rows = compare_pairings(pair_predictions(*tables), resamples=50)
    (dice,) = [row for row in rows if (row["metric"], row["test"]) == ("dice", "Wilcoxon")]
    tested = tables[0][tables[0]["split"] == "test"]
    assert dice["people"] == tested["group"].nunique()
    assert dice["low"] <= dice["difference"] <= dice["high"]
    assert np.isfinite(dice["p"])


def test_dyn_unet_module_has_as_many_parameters_as_swin_unetr_of_its_width() -> None:
    with torch.device("meta"):  # without memory; SwinUNETR cannot be built there
        assert round(parameters(DynUNetModule()) / 1e6) == 70  # SwinUNETR: 62 to 70
        small = parameters(DynUNetModule(width=12))
    assert 0.8 < small / parameters(SwinUNETRModule(width=12, heads=(1, 2, 4, 8))) < 1.25


@pytest.mark.parametrize(("width", "norm"), [(0, "instance"), (-4, "group"), (6, "group")])
def test_dyn_unet_module_rejects_width(width: int, norm: Any) -> None:
    with pytest.raises(BraindinoError, match=rf"model.width {width}: expected 1 or more"):
        DynUNetModule(width=width, norm=norm)
