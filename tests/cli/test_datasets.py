"""Every dataset from its native layout through the command: index, prepare, a probe by its shipped config."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
import yaml

from braindino.analysis.predictions import read_predictions
from braindino.cli.configs import shipped_configs
from braindino.cli.main import main
from braindino.datasets import dataset_class
from braindino.datasets.manifest import MASK, Manifest
from braindino.datasets.synthetic import GENERATORS
from braindino.files import read_json
from braindino.probing import ClassificationHead, MeanPooling
from braindino.probing.cases import CaseFeatures, ProbeCases
from braindino.scans.store import Store

TINY = "scratch:vit_tiny_patch16_dinov3_qkvb"
FIT = str(Path(__file__).parent.parent / "conf" / "tiny_fit.yaml")
DATASETS = sorted(set(GENERATORS) - {"adni", "cohort"})  # these two have files of their own
CONFIGS = {
    "abide_cls": "abide",
    "brain_age_reg": "brain_age",
    "brats_sequence_cls": "brats2023",
    "mutation_ucsf": "ucsf_pdgm",
    "oasis_cls": "oasis",
    "upenn_survival_cls": "upenn_gbm",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes, once per dataset, a folder with `data/`, `m.csv` and a `store/` of 4 slices of 16 x 16."""
    parent = tmp_path_factory.mktemp("datasets")

    @cache
    def make(name: str) -> Path:
        folder = parent / name
        data, manifest, store = (str(folder / part) for part in ("data", "m.csv", "store"))
        people = "24" if name == "brain_age" else "20"
        synth = ["synth", data, "--dataset", name, "--people", people, "--shape", "[12,12,12]"]
        assert main(synth) == 0
        assert main(["index", data, "--dataset", name, "--out", manifest]) == 0
        assert main(["prepare", manifest, "--store", store, "--depth", "4", "--size", "16"]) == 0
        return folder

    return make


@pytest.mark.parametrize("name", DATASETS)
def test_index_and_prepare(made: Callable[[str], Path], name: str) -> None:
    folder = made(name)
    manifest = Manifest.read(folder / "m.csv")
    images = manifest.table[manifest.table["modality"] != MASK]
    prepared = Store.open(folder / "store").index()
    assert sorted(prepared["path"]) == sorted(images["path"])
    assert set(dataset_class(name)(folder).modalities) <= set(prepared["modality"])
    assert (manifest.dropped["reason"] != "").all()
    assert len(manifest.dropped) > 0


@pytest.mark.parametrize("config", sorted(CONFIGS))
def test_shipped_configs_run(made: Callable[[str], Path], config: str, tmp_path: Path) -> None:
    folder = made(CONFIGS[config])
    command = [
        *("probe", "--config", f"{config}.yaml", "--data.root", str(folder / "data"), "--data.jobs", "1"),
        *("--data.store", str(folder / "store"), "--model.encoder", TINY, "--run.root", str(tmp_path)),
        *("--probe.seeds", "[0]", "--probe.max_epochs", "2", "--probe.baselines", "false"),
        *("--trainer.accelerator", "cpu", "--probe.resamples", "0"),
    ]
    assert main(command) == 0
    (run,) = tmp_path.glob(f"{config}/*/*")
    results = read_json(run / "results.json")
    predictions = read_predictions(run / "predictions.csv")
    given = yaml.safe_load(shipped_configs()[f"{config}.yaml"].read_text())["data"]["init_args"]
    options = {key: value for key, value in given.items() if key not in ("root", "store")}
    module = dataset_class(CONFIGS[config])(folder / "data", folder / "store", **options)
    module.setup()
    assert results["dropped"]["cases"] == 0
    assert results["dropped"]["scans"] == len(module.dropped) > 0
    assert results["target"] == list(module.target)
    assert results["classes"] == list(module.classes)
    assert sum(part["cases"] for part in results["cases"].values()) == len(module.cases)
    evaluated = module.cases[module.cases["split"] != "train"].set_index("case")
    assert set(predictions["case"]) == set(evaluated.index)
    known = evaluated.loc[predictions["case"], module.target[0]]
    assert predictions["target"].tolist() == known.tolist()
    if module.classes:
        assert set(predictions["target"]) == set(module.classes)


def test_missing_modalities_are_masked_where_the_manifest_lacks_them(made: Callable[[str], Path]) -> None:
    folder = made("ucsf_pdgm")
    sequences = ["T1w", "T1c", "T2w", "FLAIR"]
    module = dataset_class("ucsf_pdgm")(folder / "m.csv", folder / "store", modalities=sequences)
    module.setup()
    cases = ProbeCases.of(module, ClassificationHead(), "mask")
    assert cases.modalities == tuple(sequences)
    features = CaseFeatures(cases, {key: torch.ones(4, 2) for key in cases.keys}, MeanPooling())
    mask = features.batch(torch.arange(len(cases.table)))["mask"].any(dim=-1)
    table = module.manifest.table
    has = table.groupby("subject")["modality"].agg(set)
    expected = [[name in has[subject] for name in sequences] for subject in cases.table["subject"]]
    assert mask.tolist() == expected
    assert (~mask).sum() == 1


def test_a_step_of_pretraining_on_tumours(made: Callable[[str], Path], tmp_path: Path) -> None:
    store = made("brats2024_goat") / "store"
    command = ["fit", "--config", "pretrain.yaml", "--config", FIT, f"--data.store={store}"]
    assert main([*command, "--run.root", str(tmp_path), "--trainer.max_steps", "1"]) == 0
    assert list(tmp_path.glob("pretrain/*/checkpoints/*.ckpt"))


def test_options_of_a_base_reach_index(
    made: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(made("brats2023") / "data"), str(tmp_path / "m.csv")
    command = ["index", data, "--dataset", "brats2023", "--out", out]
    assert main([*command, "--options", "{target: sequence, cohorts: [MEN]}"]) == 0
    said = capsys.readouterr().out
    assert "sequence    T1c " in said
    assert "cohort GLI is not asked for" in said
