"""KNNMonitor: its values, the scans that it chooses, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from braindino.datasets.pretraining.slices import SliceDataModule
from braindino.errors import BraindinoError
from braindino.pretraining import KNNMonitor
from braindino.scans.store.store import Store
from tests.helpers.loggers import RowsLogger
from tests.helpers.stores import make_store
from tests.helpers.tiny_module import tiny_module, trainer

PEOPLE = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 20 people, bright or dark, and their manifest."""
    return make_store(tmp_path_factory.mktemp("knn"), PEOPLE)


def measured(folder: Path, monitor: KNNMonitor, steps: int = 4) -> list[tuple[int | None, dict[str, float]]]:
    logger = RowsLogger()
    data = SliceDataModule(folder / "store", batch_size=4, num_workers=0)
    trainer(steps, callbacks=[monitor], logger=logger).fit(tiny_module(), data)
    return [(step, row) for step, row in logger.rows if any(name.startswith("knn/") for name in row)]


@pytest.mark.parametrize(("task", "name"), [("classification", "accuracy"), ("regression", "r2")])
def test_knn_monitor_logs_every_so_many_steps(folder: Path, task: Any, name: str) -> None:
    target = "shape" if task == "classification" else "radius"
    rows = measured(folder, KNNMonitor(folder / "all.csv", target, task, every=2, slices=2, neighbours=3))
    assert [step for step, _ in rows] == [1, 3]
    assert all(row.keys() == {f"knn/{name}"} for _, row in rows)
    # A random ViT separates large heads from small ones.
    assert rows[0][1][f"knn/{name}"] > 0.5


def test_knn_monitor_does_not_change_the_training(folder: Path) -> None:
    weights = []
    for callbacks in ([], [KNNMonitor(folder / "all.csv", "shape", every=1, slices=2)]):
        module = tiny_module()
        data = SliceDataModule(folder / "store", batch_size=4, num_workers=0)
        trainer(3, callbacks=callbacks).fit(module, data)
        weights.append(module.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def chosen(folder: Path, manifest: str = "all.csv", **options: Any) -> pd.DataFrame:
    monitor = KNNMonitor(folder / manifest, **{"target": "shape", **options})
    return monitor.labelled.choose(Store.open(folder / "store"))


def test_labelled_scans_are_split_by_person_and_bounded_in_number(folder: Path) -> None:
    cases = chosen(folder, scans=12)
    assert len(cases) == 12
    people = [set(part["group"]) for _, part in cases.groupby("split")]
    assert len(people) == 2
    assert people[0].isdisjoint(people[1])
    pd.testing.assert_frame_equal(cases, chosen(folder, scans=12))
    assert set(chosen(folder, scans=12, seed=1)["group"]) != set(cases["group"])


def test_labelled_scans_take_the_split_of_the_table_without_its_test_people(folder: Path) -> None:
    table = pd.read_csv(folder / "all.csv", dtype=str)
    table["split"] = ["train"] * 10 + ["val"] * 5 + ["test"] * 5
    table.to_csv(folder / "split.csv", index=False)
    cases = chosen(folder, "split.csv")
    parts = cases.groupby("split")["group"].apply(set)
    assert parts["train"] == set(table["group"][:10])
    assert parts["val"] == set(table["group"][10:15])


def test_knn_monitor_score_is_that_of_the_nearest_by_cosine(folder: Path) -> None:
    monitor = KNNMonitor(folder / "all.csv", "label", neighbours=1)
    monitor.cases = pd.DataFrame({"label": ["a", "b", "a", "a"], "split": ["train", "train", "val", "val"]})
    features = np.array([[1, 0], [4, 4], [9, 1], [3, 4]], np.float32)
    # By distance the third would be nearest to the second.
    assert monitor.score(features) == ("accuracy", 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "colour"}, "no column 'colour'"),
        ({"target": "shape", "task": "regression"}, "not numeric"),
        ({"target": "empty"}, "0 are in"),
    ],
)
def test_knn_monitor_refuses_labels_that_cannot_serve(
    folder: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BraindinoError, match=message):
        measured(folder, KNNMonitor(folder / "all.csv", **options))


def test_knn_monitor_refuses_numbers_below_one(folder: Path) -> None:
    with pytest.raises(BraindinoError, match="at least 1"):
        KNNMonitor(folder / "all.csv", "shape", every=0)


def test_knn_monitor_of_a_continued_run_logs_no_step_twice(folder: Path, tmp_path: Path) -> None:
    """With accumulated gradients the first batch belongs to the step after the one that was measured."""
    logger = RowsLogger()
    for steps, source in ((2, None), (4, tmp_path / "half.ckpt")):
        monitor = KNNMonitor(folder / "all.csv", "shape", every=2, slices=2)
        t = trainer(steps, callbacks=[monitor], logger=logger, accumulate_grad_batches=2)
        data = SliceDataModule(folder / "store", batch_size=4, num_workers=0)
        t.fit(tiny_module(), data, ckpt_path=source, weights_only=True)
        t.save_checkpoint(tmp_path / "half.ckpt")
    assert list(logger.values("knn/accuracy")) == [1, 3]
