"""The kNN monitor: what it measures, on whom, and what it refuses."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch.loggers.logger import Logger

from braindino.datasets.manifest import Manifest
from braindino.datasets.pretraining.slices import SliceDataModule
from braindino.errors import BraindinoError
from braindino.pretraining import KNNMonitor
from braindino.scans.store.store import Store
from tests.helpers.stores import make_store
from tests.helpers.tiny import tiny_module, trainer

PEOPLE = 20


class Logged(Logger):
    """Keeps what is logged."""

    name, version = "kept", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int | None, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.rows.append((step, metrics))

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is kept of them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of 20 people, bright or dark, and their manifest."""
    return make_store(tmp_path_factory.mktemp("knn"), PEOPLE)


def measured(folder: Path, monitor: KNNMonitor, steps: int = 4) -> list[tuple[int | None, dict[str, float]]]:
    logged = Logged()
    data = SliceDataModule(folder / "store", batch_size=4, num_workers=0)
    trainer(steps, callbacks=[monitor], logger=logged).fit(tiny_module(), data)
    return [(step, row) for step, row in logged.rows if any(name.startswith("knn/") for name in row)]


@pytest.mark.parametrize(("task", "name"), [("classification", "accuracy"), ("regression", "r2")])
def test_it_measures_every_so_many_steps(folder: Path, task: Any, name: str) -> None:
    target = "shape" if task == "classification" else "radius"
    rows = measured(folder, KNNMonitor(folder / "all.csv", target, task, every=2, slices=2, neighbours=3))
    assert [step for step, _ in rows] == [1, 3]
    assert all(row.keys() == {f"knn/{name}"} for _, row in rows)
    # Even a random ViT tells a large head from a small one.
    assert rows[0][1][f"knn/{name}"] > 0.5


def test_measuring_changes_nothing_in_the_training(folder: Path) -> None:
    weights = []
    for callbacks in ([], [KNNMonitor(folder / "all.csv", "shape", every=1, slices=2)]):
        module = tiny_module()
        data = SliceDataModule(folder / "store", batch_size=4, num_workers=0)
        trainer(3, callbacks=callbacks).fit(module, data)
        weights.append(module.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def chosen(folder: Path, manifest: str = "all.csv", **options: Any) -> pd.DataFrame:
    monitor = KNNMonitor(folder / manifest, **{"target": "shape", **options})
    return monitor._choose(Manifest.read(folder / manifest).table, Store.open(folder / "store"))


def test_people_are_apart_and_the_number_is_bounded(folder: Path) -> None:
    cases = chosen(folder, scans=12)
    assert len(cases) == 12
    people = [set(part["group"]) for _, part in cases.groupby("split")]
    assert len(people) == 2
    assert people[0].isdisjoint(people[1])
    pd.testing.assert_frame_equal(cases, chosen(folder, scans=12))
    assert set(chosen(folder, scans=12, seed=1)["group"]) != set(cases["group"])


def test_a_split_in_the_table_is_kept_and_its_test_people_are_not_looked_at(folder: Path) -> None:
    table = pd.read_csv(folder / "all.csv", dtype=str)
    table["split"] = ["train"] * 10 + ["val"] * 5 + ["test"] * 5
    table.to_csv(folder / "split.csv", index=False)
    cases = chosen(folder, "split.csv")
    parts = cases.groupby("split")["group"].apply(set)
    assert parts["train"] == set(table["group"][:10])
    assert parts["val"] == set(table["group"][10:15])


def test_the_score_is_that_of_the_nearest_by_cosine(folder: Path) -> None:
    monitor = KNNMonitor(folder / "all.csv", "label", neighbours=1)
    monitor.cases = pd.DataFrame({"label": ["a", "b", "a", "a"], "split": ["train", "train", "val", "val"]})
    features = np.array([[1, 0], [4, 4], [9, 1], [3, 4]], np.float32)
    # By distance the third would be nearest to the second.
    assert monitor.score(features) == ("accuracy", 0.5)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"target": "colour"}, "no column 'colour'"),
        ({"target": "shape", "task": "regression"}, "not numeric"),
        ({"target": "empty"}, "0 are in"),
    ],
)
def test_labels_that_cannot_serve_are_refused(folder: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(BraindinoError, match=told):
        measured(folder, KNNMonitor(folder / "all.csv", **options))


def test_numbers_below_one_are_refused(folder: Path) -> None:
    with pytest.raises(BraindinoError, match="at least 1"):
        KNNMonitor(folder / "all.csv", "shape", every=0)
