"""Every family of tasks by its shipped config: true labels are learned, shuffled ones not."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from braindino.cli.main import main
from braindino.files import read_json
from braindino.scans.store.store import Store
from braindino.synthetic import generator
from tests.helpers.tiny_vit import export_tiny


class Family(NamedTuple):
    """A config with added options, the dataset, its columns of labels, and the value to exceed."""

    config: str
    more: tuple[str, ...]
    dataset: str
    labels: tuple[str, ...]
    metric: str
    above: float


FLAIR = ("--data.modalities", "[FLAIR]")  # alone: tumours are small, and a random encoder sees little of them
FAMILIES = {
    "two classes": Family("oasis_cls", (), "oasis", ("dementia",), "auroc", 0.9),
    "nearest neighbours": Family(
        "knn_adni_oasis", ("--data", "braindino.datasets.OASIS"), "oasis", ("dementia",), "auroc", 0.85
    ),
    "logistic": Family("oasis_cls", ("--model.head", "LogisticHead"), "oasis", ("dementia",), "auroc", 0.9),
    "sequence": Family("brats_sequence_cls", (), "brats2023", ("sequence",), "auroc", 0.9),
    "brain age": Family("brain_age_reg", (), "brain_age", ("age",), "pearson", 0.6),
    "ridge": Family("brain_age_reg", ("--model.head", "RidgeHead"), "brain_age", ("age",), "pearson", 0.6),
    "days": Family("atlas_reg", (), "atlas", ("days",), "pearson", 0.35),
    "molecular": Family("mutation_ucsf", (), "ucsf_pdgm", ("idh",), "auroc", 0.85),
    "1p/19q": Family(
        "mutation_ucsf", (*FLAIR, "--data.target", "codeletion"), "ucsf_pdgm", ("codeletion",), "auroc", 0.7
    ),
    "one year": Family("upenn_survival_cls", FLAIR, "upenn_gbm", ("one_year",), "auroc", 0.7),
    "survival": Family("upenn_survival_cox", FLAIR, "upenn_gbm", ("time", "event"), "c_index", 0.6),
    "elastic net": Family(
        "upenn_survival_cox",
        (*FLAIR, "--model.head", "CoxNetHead"),
        "upenn_gbm",
        ("time", "event"),
        "c_index",
        0.6,
    ),
}
MASKS = Family(
    "seg_atlas",
    (
        *("--data.folds", "null", "--data.num_workers", "0", "--data.jobs", "1", "--probe.max_epochs", "10"),
        *("--probe.precision", "float32", "--model.lr", "0.003"),
    ),
    "atlas",
    ("path",),
    "dice",
    0.25,
)
CHANCE = {"auroc": 0.5, "pearson": 0.0, "c_index": 0.5}
NEAR = {"auroc": 0.2, "pearson": 0.3, "c_index": 0.15}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a dataset's folder once: `data/`, `m.csv` and a `store/` of 8 slices of 32 x 32."""
    parent = tmp_path_factory.mktemp("families")

    @cache
    def make(name: str) -> Path:
        folder = parent / name
        people, side = (60, 24) if name in ("upenn_gbm", "ucsf_pdgm") else (45, 20)
        people = 60 if name == "atlas" else people  # its masks that do not fit cost it some
        shape = (side, side + 4, side)
        generator(name)(folder / "data", people=people, sessions=1, shape=shape, seed=0)
        index = ["index", str(folder / "data"), "--dataset", name, "--out", str(folder / "m.csv")]
        options = ["--options", "{target: sequence}"] if name == "brats2023" else []
        assert main([*index, *options]) == 0
        store = str(folder / "store")
        prepared = main(["prepare", str(folder / "m.csv"), "--store", store, "--depth", "8", "--size", "32"])
        assert prepared in (0, 1)  # 1: the copy of ATLAS has masks that do not fit their scans
        return folder

    return make


@pytest.fixture(scope="module")
def encoder(made: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported encoder with random weights, as only heads are tested here."""
    folder = tmp_path_factory.mktemp("encoder")
    return export_tiny(folder, Store.open(made("oasis") / "store").contract, init_values=0.1)


@pytest.fixture
def probe(made: Callable[[str], Path], encoder: Path, tmp_path: Path) -> Callable[..., Any]:
    """Runs a family over three folds on a manifest; returns results.json."""

    def run(family: Family, manifest: Path, *more: str) -> Any:
        root = tmp_path / manifest.stem
        command = [
            *("probe", "--config", f"{family.config}.yaml", "--data.root", str(manifest)),
            *("--data.store", str(made(family.dataset) / "store"), "--data.folds", "3"),
            *("--model.encoder", str(encoder), "--run.root", str(root), "--probe.seeds", "[0]"),
            *("--probe.baselines", "false", "--probe.resamples", "200", "--trainer.accelerator", "cpu"),
            *family.more,
        ]
        assert main([*command, *more]) == 0
        (results,) = root.glob(f"{family.config}/*/*/results.json")
        return read_json(results)

    return run


def shuffled(table: pd.DataFrame, labels: tuple[str, ...], seed: int) -> pd.DataFrame:
    """The labels of another person for each; where a person has several labels, of another row."""
    rng = np.random.default_rng(seed)
    if len(table.drop_duplicates(["group", *labels])) > table["group"].nunique():
        return table.assign(**{name: rng.permutation(table[name].to_numpy()) for name in labels})
    people = table.drop_duplicates("group").set_index("group")[list(labels)]
    order = rng.permutation(len(people))
    other = pd.DataFrame(people.to_numpy()[order], index=people.index, columns=list(labels))
    return table.assign(**{name: table["group"].map(other[name]) for name in labels})


@pytest.mark.parametrize("name", FAMILIES)
def test_probe_learns_true_labels_and_not_shuffled_ones(
    made: Callable[[str], Path], probe: Callable[..., Any], name: str
) -> None:
    family = FAMILIES[name]
    manifest = made(family.dataset) / "m.csv"
    (line,) = probe(family, manifest)["summary"]
    numbers = line["test"]["metrics"][family.metric]
    assert numbers["value"] > family.above
    assert numbers["low"] > CHANCE[family.metric]
    table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    values = []
    for seed in range(2):
        other = manifest.with_name(f"shuffled{seed}.csv")
        shuffled(table, family.labels, seed).to_csv(other, index=False)
        (line,) = probe(family, other, "--probe.resamples", "0")["summary"]
        values.append(line["test"]["metrics"][family.metric]["value"])
    assert np.mean(values) == pytest.approx(CHANCE[family.metric], abs=NEAR[family.metric])


def test_probe_takes_mgmt_as_target(made: Callable[[str], Path], probe: Callable[..., Any]) -> None:
    mgmt = Family("mutation_ucsf", ("--data.target", "mgmt"), "ucsf_pdgm", ("mgmt",), "auroc", 0.0)
    results = probe(mgmt, made("ucsf_pdgm") / "m.csv", "--model.head", "LogisticHead")
    assert (results["target"], results["classes"]) == (["mgmt"], ["negative", "positive"])
    assert results["dropped"]["reasons"]["no mgmt"] == 15  # five sequences each, masks included
    assert 0 <= results["summary"][0]["test"]["metrics"]["auroc"]["value"] <= 1


def test_probe_segments_lesions_and_not_those_of_other_people(
    made: Callable[[str], Path], probe: Callable[..., Any]
) -> None:
    manifest = made("atlas") / "m.csv"
    (line,) = probe(MASKS, manifest)["summary"]
    dice = line["test"]["metrics"]["dice"]
    assert dice["value"] > MASKS.above
    assert dice["low"] > 0.1
    table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    masks = table.index[table["modality"] == "mask"]
    table.loc[masks, "path"] = np.roll(table.loc[masks, "path"], 1)
    table.to_csv(manifest.with_name("others.csv"), index=False)
    (line,) = probe(MASKS, manifest.with_name("others.csv"))["summary"]
    assert line["test"]["metrics"]["dice"]["value"] < dice["value"] / 2  # where lesions are likely
