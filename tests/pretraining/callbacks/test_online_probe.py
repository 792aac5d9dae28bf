"""OnlineProbe: logged values, unchanged training, and one value on one or two processes."""

import json
import logging
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from torchmetrics.classification import MulticlassAUROC

from braindino.datasets.pretraining.slices import SliceDataModule
from braindino.errors import BraindinoError
from braindino.pretraining import OnlineProbe
from braindino.pretraining.callbacks.online_callback import share_of_process
from tests.helpers.loggers import RowsLogger
from tests.helpers.online_probe import SaveMetric, frozen_module
from tests.helpers.processes import run_processes
from tests.helpers.slices import FakeSlices
from tests.helpers.stores import make_store
from tests.helpers.tiny_module import tiny_module, trainer

PEOPLE = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 20 people with large or small heads, and their manifest."""
    return make_store(tmp_path_factory.mktemp("online"), PEOPLE)


def data_of(folder: Path) -> SliceDataModule:
    return SliceDataModule(folder / "store", batch_size=4, num_workers=0)


def fit(folder: Path, probe: OnlineProbe, steps: int = 4) -> RowsLogger:
    logger = RowsLogger()
    trainer(steps, callbacks=[probe], logger=logger).fit(tiny_module(), data_of(folder))
    return logger


def write_split(folder: Path, name: str, split: list[str]) -> Path:
    table = pd.read_csv(folder / "all.csv", dtype=str).assign(split=split)
    table.to_csv(folder / name, index=False)
    return folder / name


@pytest.mark.parametrize(
    ("target", "task", "metric"),
    [
        ("shape", "classification", "val/online_auroc"),
        ("radius", "regression", "val/online_r2"),
    ],
)
def test_online_probe_logs_every_n_steps(folder: Path, target: str, task: Any, metric: str) -> None:
    probe = OnlineProbe(folder / "all.csv", target, task, every_n_steps=2, slices=2)
    t = trainer(4, callbacks=[probe], logger=(logger := RowsLogger()))
    t.fit(tiny_module(), data_of(folder))
    values = logger.values(metric)
    assert list(values) == [1, 3]
    assert all(0.5 < value <= 1 for value in values.values())  # a random ViT separates large from small heads
    assert t.callback_metrics[metric].item() == values[3]  # what a ModelCheckpoint may monitor


def test_online_probe_does_not_change_the_training(folder: Path) -> None:
    weights, states = [], []
    for callbacks in ([], [OnlineProbe(folder / "all.csv", "shape", every_n_steps=1, slices=2)]):
        module = tiny_module()
        trainer(3, callbacks=callbacks).fit(module, data_of(folder))
        weights.append(module.state_dict())
        states.append((torch.get_rng_state(), torch.from_numpy(np.random.rand(9))))  # noqa: NPY002
        assert all(p.grad is None for p in module.teacher.parameters())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert all(torch.equal(one, two) for one, two in zip(*states, strict=True))


def test_online_probe_restores_the_random_state(folder: Path) -> None:
    """Also if computing the value were to draw numbers."""

    class Drawing(OnlineProbe):
        def measure(self, *args: Any) -> torch.Tensor | None:
            torch.rand(3)
            np.random.rand(3)  # noqa: NPY002
            return super().measure(*args)

    weights = []
    for callbacks in ([], [Drawing(folder / "all.csv", "shape", every_n_steps=1, slices=2)]):
        module = tiny_module()
        trainer(2, callbacks=callbacks).fit(module, data_of(folder))
        weights.append((module.state_dict(), torch.get_rng_state()))
    assert torch.equal(weights[0][1], weights[1][1])
    assert all(torch.equal(weights[0][0][name], weights[1][0][name]) for name in weights[0][0])


def probe_of(labels: list[Any], split: list[str], task: Any, classes: list[str]) -> OnlineProbe:
    probe = OnlineProbe(Path("unread.csv"), "label", task)
    probe._table = pd.DataFrame({"label": labels, "split": split})
    probe._classes = classes
    return probe


def test_online_probe_score_is_the_auroc_of_a_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    classes, split = rng.integers(0, 3, 90), np.where(np.arange(90) < 60, "train", "val")
    features = rng.normal(size=(90, 8)) + 0.7 * np.eye(3, 8)[classes]
    probe = probe_of([f"c{k}" for k in classes], list(split), "classification", ["c0", "c1", "c2"])
    value = probe.score(torch.from_numpy(features).float())
    train = split == "train"
    rows = (features - features[train].mean(0)) / features[train].std(0) / 8**0.5
    model = LogisticRegression(C=1 / (60 * 1e-3), max_iter=5000, tol=1e-8).fit(rows[train], classes[train])
    expected = roc_auc_score(classes[~train], model.predict_proba(rows[~train]), multi_class="ovr")
    assert value is not None
    assert value.item() == pytest.approx(expected, abs=1e-5)


def test_online_probe_score_is_the_r2_of_a_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    features, split = rng.normal(size=(50, 6)), np.where(np.arange(50) < 30, "train", "val")
    ages = 60 + 8 * features[:, 0] + 3 * rng.normal(size=50)
    value = probe_of(list(ages), list(split), "regression", []).score(torch.from_numpy(features).float())
    train = split == "train"
    rows = (features - features[train].mean(0)) / features[train].std(0) / 6**0.5
    model = Ridge(alpha=30 * 1e-3 / 2).fit(rows[train], ages[train])
    assert value is not None
    assert value.item() == pytest.approx(r2_score(ages[~train], model.predict(rows[~train])), abs=1e-4)


def test_online_probe_score_of_features_that_are_not_finite_is_none() -> None:
    probe = probe_of(["a", "b", "a", "b"], ["train", "train", "val", "val"], "classification", ["a", "b"])
    assert probe.score(torch.full((4, 3), torch.nan)) is None


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"target": "shape"},
            "of column 'shape', only 'large' has scans of training and of validation people",
        ),
        (
            {"target": "constant", "task": "regression"},
            "the training people have fewer than two different values of 'constant'",
        ),
    ],
)
def test_online_probe_warns_once_where_no_value_is_defined(
    folder: Path, caplog: pytest.LogCaptureFixture, options: dict[str, Any], reason: str
) -> None:
    """Every second head is small, and no small one is in validation."""
    split = ["val" if i % 2 == 0 and i > 10 else "train" for i in range(PEOPLE)]
    manifest = write_split(folder, "one_class.csv", split)
    pd.read_csv(manifest, dtype=str).assign(constant="3").to_csv(manifest, index=False)
    with caplog.at_level(logging.WARNING, "braindino"):
        logger = fit(folder, OnlineProbe(manifest, every_n_steps=1, **options))
    metric = "val/online_r2" if "task" in options else "val/online_auroc"
    assert [record.getMessage() for record in caplog.records if "OnlineProbe" in record.getMessage()] == [
        f"OnlineProbe: {metric} is not logged: {reason}."
    ]
    assert not any(name.startswith("val/") for _, row in logger.rows for name in row)


def test_online_probe_warns_once_of_features_that_are_not_finite(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(OnlineProbe):
        def measure(self, *args: Any) -> None:
            return None

    with caplog.at_level(logging.WARNING, "braindino"):
        logger = fit(folder, Broken(folder / "all.csv", "shape", every_n_steps=1), steps=3)
    assert [record.getMessage() for record in caplog.records if "Broken" in record.getMessage()] == [
        "Broken: val/online_auroc is not logged: the teacher's features are not finite."
    ]
    assert not logger.values("val/online_auroc")


def test_online_probe_ignores_a_class_that_one_part_lacks(folder: Path) -> None:
    table = pd.read_csv(folder / "all.csv", dtype=str)
    table["split"] = ["train"] * 12 + ["val"] * 8
    table.loc[19, "shape"] = "flat"
    table.to_csv(folder / "three.csv", index=False)
    values = fit(folder, OnlineProbe(folder / "three.csv", "shape", every_n_steps=2)).values(
        "val/online_auroc"
    )
    assert list(values) == [1, 3]


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.filterwarnings("ignore:.*use_fork.*", "ignore:.*multi-threaded, use of fork.*")
def test_online_probe_on_two_processes_has_the_value_of_one(folder: Path, tmp_path: Path, task: Any) -> None:
    values = {}
    for processes in (1, 2):
        (out := tmp_path / str(processes)).mkdir()
        target = "shape" if task == "classification" else "radius"
        probe = OnlineProbe(folder / "all.csv", target, task, every_n_steps=2, scans=13, slices=2)
        strategy = {"strategy": "ddp_fork", "devices": processes} if processes > 1 else {"devices": 1}
        callbacks = [probe, SaveMetric(out, probe.metric)]
        trainer(2, callbacks=callbacks, **strategy).fit(frozen_module(), data_of(folder))
        values[processes] = [json.loads((out / f"{rank}.json").read_text()) for rank in range(processes)]
    assert values[2] == pytest.approx(values[1] * 2, abs=1e-6)


def _auroc(rank: int, world: int, outputs: torch.Tensor, targets: torch.Tensor) -> float:
    metric = MulticlassAUROC(2, average="macro")
    metric.update(share_of_process(outputs), share_of_process(targets))
    return metric.compute().item()


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_share_of_process_gives_one_value_on_more_processes_than_rows(rows: int) -> None:
    outputs = torch.rand(7, 2, generator=torch.Generator().manual_seed(0)).softmax(1)[:rows]
    targets = torch.tensor([0, 1, 1, 0, 1, 0, 0])[:rows]
    expected = roc_auc_score(targets.numpy(), outputs[:, 1].numpy())
    assert run_processes(_auroc, 3, outputs, targets) == pytest.approx([expected] * 3)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_online_probe_of_a_continued_run_logs_the_same_rows(
    folder: Path, tmp_path: Path, accumulate: int
) -> None:
    def run(steps: int, source: Path | None) -> tuple[pl.Trainer, RowsLogger]:
        probe = OnlineProbe(folder / "all.csv", "radius", "regression", every_n_steps=2, slices=2)
        logger = RowsLogger()
        t = trainer(steps, callbacks=[probe], logger=logger, accumulate_grad_batches=accumulate)
        t.fit(tiny_module(), data_of(folder), ckpt_path=source, weights_only=True)
        return t, logger

    whole = run(6, None)[1].values("val/online_r2")
    first, before = run(2, None)
    first.save_checkpoint(tmp_path / "half.ckpt")
    after = run(6, tmp_path / "half.ckpt")[1].values("val/online_r2")
    assert list(whole) == [1, 3, 5]
    assert list(after) == [3, 5]
    assert before.values("val/online_r2") | after == whole


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "colour"}, r"no column 'colour' \(OnlineProbe\.target\)"),
        ({"target": "shape", "task": "regression"}, "not numeric"),
        ({"target": "empty"}, "0 are in"),
    ],
)
def test_online_probe_refuses_labels_that_cannot_serve(
    folder: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BraindinoError, match=message):
        fit(folder, OnlineProbe(folder / "all.csv", **options))


def test_online_probe_refuses_a_data_module_without_a_store(folder: Path) -> None:
    probe = OnlineProbe(folder / "all.csv", "shape")
    with pytest.raises(BraindinoError, match="OnlineProbe needs the store of a SliceDataModule"):
        trainer(1, callbacks=[probe]).fit(tiny_module(), FakeSlices())


@pytest.mark.parametrize("options", [{"every_n_steps": 0}, {"scans": 0}, {"slices": 0}])
def test_online_probe_refuses_numbers_below_one(options: dict[str, Any]) -> None:
    with pytest.raises(BraindinoError, match=r"OnlineProbe: .* must be at least 1"):
        OnlineProbe(Path("all.csv"), "shape", **options)


def test_online_probe_refuses_a_weight_decay_of_zero() -> None:
    with pytest.raises(BraindinoError, match=r"weight_decay 0\.0 is not possible"):
        OnlineProbe(Path("all.csv"), "shape", weight_decay=0.0)


@pytest.mark.filterwarnings("ignore:.*configure_optimizers. returned .None.")
def test_online_probe_refuses_a_module_without_a_teacher(folder: Path) -> None:
    class Other(pl.LightningModule):
        def training_step(self, *args: Any) -> None:
            """Train nothing."""

        def validation_step(self, *args: Any) -> None:
            """Measure nothing."""

        def configure_optimizers(self) -> None:
            """Have no optimiser."""

    probe = OnlineProbe(folder / "all.csv", "shape")
    with pytest.raises(BraindinoError, match="OnlineProbe needs the teacher of a DINOModule; with Other"):
        trainer(1, callbacks=[probe]).fit(Other(), data_of(folder))
