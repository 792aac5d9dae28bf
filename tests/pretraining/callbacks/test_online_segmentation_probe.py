"""OnlineSegmentationProbe: Dice of a linear head on patch tokens, and that the training is not changed."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from braindino.datasets import Cohort
from braindino.datasets.manifest import Manifest
from braindino.datasets.pretraining.slices import SliceDataModule
from braindino.errors import BraindinoError
from braindino.pretraining import OnlineSegmentationProbe
from braindino.pretraining.callbacks.online_segmentation_probe import patch_labels
from tests.helpers.lesions import CONTRACT, write_cases
from tests.helpers.loggers import RowsLogger
from tests.helpers.online_probe import SaveMetric, frozen_module
from tests.helpers.tiny_module import tiny_module, trainer

METRIC = "val/online_dice"
LESION = {"lesion": [1, 2]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `store`, and `lesions.csv` that lists FLAIR scans, T1w scans and masks of 12 people."""
    folder = tmp_path_factory.mktemp("lesions")
    write_cases(folder, people=12)
    data = Cohort(
        folder / "cases.csv",
        folder / "store",
        prepare=True,
        task="segmentation",
        regions=LESION,
        path={"FLAIR": "flair", "T1w": "t1", "mask": "mask"},
        dataset="lesions",
    )
    data.use_contract(CONTRACT)
    data.prepare_data()
    data.manifest.write(folder / "lesions.csv")
    return folder


def probe_of(folder: Path, **options: Any) -> OnlineSegmentationProbe:
    usual: dict[str, Any] = {
        "manifest": folder / "lesions.csv",
        "regions": LESION,
        "modality": "FLAIR",
        "every_n_steps": 2,
    }
    return OnlineSegmentationProbe(**(usual | options))


def data_of(folder: Path) -> SliceDataModule:
    return SliceDataModule(folder / "store", batch_size=4, num_workers=0)


def fit(folder: Path, probe: OnlineSegmentationProbe, steps: int = 4, **options: Any) -> RowsLogger:
    logger = RowsLogger()
    trainer(steps, callbacks=[probe], logger=logger).fit(tiny_module(), data_of(folder), **options)
    return logger


def test_online_segmentation_probe_logs_every_n_steps(folder: Path) -> None:
    values = fit(folder, probe_of(folder)).values(METRIC)
    assert list(values) == [1, 3]
    assert all(0.2 < value <= 1 for value in values.values())


def test_online_segmentation_probe_does_not_change_the_training(folder: Path) -> None:
    weights, states = [], []
    for callbacks in ([], [probe_of(folder, every_n_steps=1)]):
        module = tiny_module()
        trainer(3, callbacks=callbacks).fit(module, data_of(folder))
        weights.append(module.state_dict())
        states.append(torch.get_rng_state())
        assert all(p.grad is None for p in module.teacher.parameters())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert torch.equal(*states)


@pytest.mark.filterwarnings("ignore:.*use_fork.*", "ignore:.*multi-threaded, use of fork.*")
def test_online_segmentation_probe_on_two_processes_has_the_value_of_one(
    folder: Path, tmp_path: Path
) -> None:
    values = {}
    for processes in (1, 2):
        (out := tmp_path / str(processes)).mkdir()
        strategy = {"strategy": "ddp_fork", "devices": processes} if processes > 1 else {"devices": 1}
        callbacks = [probe_of(folder, scans=11), SaveMetric(out, METRIC)]
        trainer(2, callbacks=callbacks, **strategy).fit(frozen_module(), data_of(folder))
        values[processes] = [json.loads((out / f"{rank}.json").read_text()) for rank in range(processes)]
    assert values[2] == pytest.approx(values[1] * 2, abs=1e-3)


def test_online_segmentation_probe_of_a_continued_run_logs_the_same_rows(
    folder: Path, tmp_path: Path
) -> None:
    whole = fit(folder, probe_of(folder), 4).values(METRIC)
    t = trainer(2, callbacks=[probe_of(folder)], logger=(before := RowsLogger()))
    t.fit(tiny_module(), data_of(folder))
    t.save_checkpoint(tmp_path / "half.ckpt")
    options = {"ckpt_path": tmp_path / "half.ckpt", "weights_only": True}
    after = fit(folder, probe_of(folder), 4, **options).values(METRIC)
    assert list(after) == [3]
    assert before.values(METRIC) | after == whole


def test_online_segmentation_probe_score_is_dice_per_case_and_region(folder: Path) -> None:
    """Tokens that hold the labels are segmented perfectly; tokens that hold nothing give the base rate."""
    probe = probe_of(folder)
    probe._cases = pd.DataFrame({"split": ["train"] * 4 + ["val"] * 3})
    labels = torch.rand(7, 2, 1, 9, generator=torch.Generator().manual_seed(0)) < 0.3  # (N, S, R, P)
    labels[5] = False  # a case without a lesion
    probe._labels = labels
    tokens = torch.cat([labels.movedim(2, -1).float(), torch.zeros(7, 2, 9, 2)], dim=-1)
    perfect = probe.score(tokens)
    assert perfect is not None
    assert perfect.item() == 1
    tokens[4, 0] = 1 - tokens[4, 0]  # one slice of a validation case is predicted the wrong way round
    value = probe.score(tokens)
    predicted, truth = tokens[4, ..., 0].numpy() > 0.5, labels[4, :, 0].numpy()
    dice = 2 * (predicted & truth).sum() / (predicted.sum() + truth.sum())
    assert value is not None
    assert value.item() == pytest.approx((dice + 1) / 2)
    assert probe.score(torch.full_like(tokens, torch.nan)) is None


def test_patch_labels_take_a_patch_of_which_half_the_pixels_belong_to_the_region() -> None:
    labels = np.zeros((8, 12), np.uint8)
    labels[:4, :2] = 1  # half of the first patch
    labels[4:, 4:8] = 2
    labels[4:, 8] = 1  # a quarter of the last
    members = torch.zeros(256, 2)
    members[[1, 2], 0] = 1
    members[2, 1] = 1
    assert patch_labels(labels, members, (4, 4)).int().tolist() == [[1, 0, 0, 0, 1, 0], [0, 0, 0, 0, 1, 0]]


def write_split(folder: Path, split: dict[str, str]) -> Path:
    """A manifest with a column `split`, by the number of the subject."""
    table = Manifest.read(folder / "lesions.csv").table
    table["split"] = [split.get(subject, "train") for subject in table["subject"]]
    table.to_csv(folder / "split.csv", index=False)
    return folder / "split.csv"


def test_online_segmentation_probe_takes_the_split_of_the_manifest(folder: Path) -> None:
    manifest = write_split(folder, {"p00": "val", "p01": "val", "p02": "test", "p03": "none"})
    probe = probe_of(folder, manifest=manifest)
    fit(folder, probe, 1)
    assert probe._cases["split"].value_counts().to_dict() == {"train": 8, "val": 2}


def test_online_segmentation_probe_warns_once_where_validation_has_no_lesion(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = write_split(folder, {"p05": "val"})  # the case without a lesion
    with caplog.at_level(logging.WARNING, "braindino"):
        logger = fit(folder, probe_of(folder, manifest=manifest, every_n_steps=1))
    assert [record.getMessage() for record in caplog.records if "Online" in record.getMessage()] == [
        "OnlineSegmentationProbe: val/online_dice is not logged: no region (lesion) covers half a patch in "
        "masks of training people and in masks of validation people."
    ]
    assert not logger.values(METRIC)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modality": None}, "has scans of FLAIR, T1w; name one of them in modality"),
        ({"modality": "T2w"}, "no 'T2w'"),
        ({"regions": {"core": [2]}}, "have labels that no region lists"),
        ({"regions": None}, "the regions of the dataset lesions are not known"),
        ({"slices": 0}, "must be at least 1"),
    ],
)
def test_online_segmentation_probe_refuses_what_cannot_serve(
    folder: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BraindinoError, match=message):
        fit(folder, probe_of(folder, **options), 1)


def test_online_segmentation_probe_counts_ignored_labels_as_background(folder: Path) -> None:
    probe = probe_of(folder, regions={"rim": [1]}, ignore_labels=[2])
    fit(folder, probe, 1)
    assert not probe.undefined
