"""SegmentationModule, by SwinUNETR: segments lesions, logs Dice, and writes the files of a probe."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from braindino.analysis.metrics.segmentation import ROW
from braindino.analysis.predictions import read_predictions
from braindino.analysis.runs import Run
from braindino.brainsegfounder import SwinUNETRModule
from braindino.brainsegfounder.best_weights import BestWeights
from braindino.brainsegfounder.optimiser import SwinOptimiserConfig
from braindino.datasets import Cohort, VolumeCases
from braindino.errors import BraindinoError
from braindino.probing import SegmentationHead
from braindino.probing.data.cases import ProbeCases
from tests.helpers.balls import masked
from tests.helpers.swin import TINY, data_of, segmentation_data, segmentation_trainer

__all__ = ["masked"]  # the fixture


def test_swin_unetr_module_segments_lesions_and_writes_files_of_a_probe(masked: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = SwinUNETRModule(
        **TINY,
        norm="group",
        resamples=50,
        optimiser=SwinOptimiserConfig(lr=5e-3, weight_decay=0.0, warmup_steps=3),
    )
    data = segmentation_data(masked)
    trainer = segmentation_trainer(tmp_path, 45, check_val_every_n_epoch=5)
    trainer.fit(module, data)
    assert (tmp_path / "best.ckpt").is_file()
    (scores,) = trainer.test(
        module, data, ckpt_path=str(tmp_path / "best.ckpt"), weights_only=True, verbose=False
    )
    assert scores["test/dice_ball"] > 0.6  # all voxels: below 0.1
    rows = read_predictions(tmp_path / "predictions.csv")
    assert set(rows["split"]) == {"val", "test"}
    assert set(ROW) <= set(rows)
    run = Run(tmp_path)
    assert run.results["task"] == "segmentation"
    assert run.results["cases"]["train"]["cases"] == len(data.scans[data.scans["split"] == "train"])
    assert run.results["summary"][0]["test"]["metrics"]["dice"]["value"] == pytest.approx(
        scores["test/dice"], abs=1e-6
    )


def test_swin_unetr_module_scores_perfect_and_empty_masks(masked: Path, tmp_path: Path) -> None:
    module = SwinUNETRModule(**TINY, norm="group", resamples=0, nsd_tolerance=0.5)
    data = segmentation_data(masked)
    truth = {}

    def perfect(batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        truth[int(batch["case"][0])] = batch["labels"]
        return batch["labels"][:, None] == 1

    module.masks = perfect  # type: ignore[method-assign]
    trainer = segmentation_trainer(tmp_path, 1)
    (scores,) = trainer.test(module, data, verbose=False)
    assert scores["test/dice_ball"] == scores["test/lesion_f1_ball"] == 1
    assert scores["test/nsd_ball"] == scores["test/rq_ball"] == scores["test/pq_ball"] == 1
    assert scores["test/hd95_ball"] == scores["test/volume_error_ml_ball"] == 0
    assert Run(tmp_path).results["nsd_tolerance"] == 0.5
    module.masks = lambda batch: torch.zeros_like(perfect(batch))  # type: ignore[method-assign]
    (scores,) = trainer.test(module, data, verbose=False)
    rows = pd.read_csv(tmp_path / "predictions.csv")
    np.testing.assert_array_equal(rows["dice"], (rows["true_ml"] == 0).astype(float))
    assert scores["test/dice_ball"] < 0.5
    assert scores["test/nsd_ball"] == scores["test/pq_ball"] == 0
    assert "test/sq_ball" not in scores  # no lesion is matched
    for name in ("case_specificity", "false_positive_ml"):
        assert (f"test/{name}_ball" in scores) == bool((rows["true_ml"] == 0)[rows["split"] == "test"].any())


class ShiftedMasks(SwinUNETRModule):
    """Predicts the reference masks, shifted by a voxel, in place of the network's."""

    def masks(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return (batch["labels"][:, None] == 1).roll(1, dims=-1)


class Scores(Callback):
    """Writes the logged values of every process to a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
        torch.save(values, self.folder / f"{trainer.global_rank}.pt")


@pytest.mark.filterwarnings("ignore:.*use_fork.*", "ignore:.*multi-threaded, use of fork.*")
def test_swin_unetr_module_logs_the_same_dice_from_any_number_of_processes(
    masked: Path, tmp_path: Path
) -> None:
    data = segmentation_data(masked)
    data.prepare_data()
    data.setup()
    truths = [batch["labels"][:, None] == 1 for batch in data.val_dataloader()]
    assert len(truths) == 4  # three processes have two, one and one of them
    expected = [float((truth & truth.roll(1, dims=-1)).sum() / truth.sum()) for truth in truths]
    for devices in (1, 2, 3):
        folder = tmp_path / str(devices)
        folder.mkdir()
        trainer = segmentation_trainer(
            folder, 1, devices=devices, strategy="ddp_fork" if devices > 1 else "auto",
            callbacks=[Scores(folder)],
        )  # fmt: skip
        trainer.validate(ShiftedMasks(**TINY, norm="group"), segmentation_data(masked), verbose=False)
        for rank in range(devices):
            scores = torch.load(folder / f"{rank}.pt", weights_only=True)
            assert scores["val/dice"] == pytest.approx(np.mean(expected), abs=1e-6)
            assert scores["val/dice_ball"] == scores["val/dice"]


def test_swin_unetr_module_logs_nan_for_a_region_without_cases(masked: Path, tmp_path: Path) -> None:
    labelled = Cohort(
        masked / "cases.csv", masked / "store", task="segmentation", regions={"ball": [1], "never": [2]},
        dataset="balls", path={"T1w": "t1", "FLAIR": "flair", "mask": "mask"}, prepare=True,
    )  # fmt: skip
    data = VolumeCases(labelled, crop=32, num_workers=0)
    module = SwinUNETRModule(**TINY, norm="group")
    (scores,) = segmentation_trainer(tmp_path, 1).validate(module, data, verbose=False)
    assert np.isnan(scores["val/dice_never"])
    assert scores["val/dice"] == scores["val/dice_ball"] < 0.5


def test_volume_cases_fraction_has_the_people_of_a_probe(masked: Path) -> None:
    data = segmentation_data(masked, fraction=0.5, fraction_seed=2)
    data.prepare_data()
    data.setup()
    trained = data.scans.loc[data.scans["split"] == "train", "case"]
    probe = ProbeCases.of(data.cases, SegmentationHead(), "mask")
    assert set(probe.labelled(0.5, 2)["case"]) == set(data.cases.cases.loc[trained, "case"])


def test_swin_unetr_module_test_leaves_metrics_csv(masked: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,train/loss\n0,0.9\n")
    module, data = SwinUNETRModule(**TINY, norm="group", resamples=0), segmentation_data(masked)
    segmentation_trainer(tmp_path, 1).test(module, data, verbose=False)
    assert (tmp_path / "metrics.csv").read_text() == "step,train/loss\n0,0.9\n"


def test_swin_unetr_module_rejects_other_crops_and_data(masked: Path, volumes: Path, tmp_path: Path) -> None:
    with pytest.raises(BraindinoError, match="crop 16: the network halves crops five times"):
        segmentation_trainer(tmp_path, 1).fit(SwinUNETRModule(**TINY), segmentation_data(masked, crop=16))
    with pytest.raises(BraindinoError, match="needs cases with masks: data of VolumeCases"):
        segmentation_trainer(tmp_path, 1).fit(SwinUNETRModule(**TINY), data_of(volumes))


@pytest.mark.parametrize(("dice", "steps", "expected"), [(0.8, 5, 0.8), (0.5, 5, 0.6), (0.8, 0, 0.6)])
def test_best_weights_reads_the_score_to_beat_of_a_continued_run(
    tmp_path: Path, dice: float, steps: int, expected: float
) -> None:
    """A run killed after a validation continues from a checkpoint saved before it."""
    torch.save({"segmentation": {"dice": dice}}, tmp_path / "best.ckpt")
    best = BestWeights(str(tmp_path))
    best.best_model_score = torch.tensor(0.6)
    trainer = SimpleNamespace(global_step=steps)
    best.on_train_start(trainer, SwinUNETRModule(**TINY, norm="group"))  # type: ignore[arg-type]
    assert float(best.best_model_score) == pytest.approx(expected)
    if expected == 0.8:
        assert best.best_k_models == {str(tmp_path / "best.ckpt"): best.best_model_score}
        assert best.kth_best_model_path == str(tmp_path / "best.ckpt")
