"""Every dataset: its synthetic copy is indexed, and probed or pretrained by a shipped config."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from braindino.analysis.predictions import read_predictions
from braindino.cli.config.files import shipped_configs
from braindino.cli.main import main
from braindino.datasets import DATASETS, UCSFPDGM, dataset_class
from braindino.datasets.manifest import IDENTITY, MASK, Manifest
from braindino.files import read_json
from braindino.probing import ClassificationHead, MeanPooling
from braindino.probing.data.cases import CaseFeatures, ProbeCases
from braindino.scans.store.store import Store
from braindino.synthetic import GENERATORS, generator
from braindino.synthetic.files import Planted
from tests.helpers.tiny_vit import SCRATCH

FIT = str(Path(__file__).parent.parent / "conf" / "tiny_fit.yaml")
# Dataset with labels -> a shipped config, and the options that a user adds.
PROBES: dict[str, tuple[str, ...]] = {
    "abide": ("abide_cls.yaml",),
    "adni": ("adni_cls.yaml",),
    "atlas": ("atlas_reg.yaml",),
    "brain_age": ("brain_age_reg.yaml",),
    "brats2021": ("brats_sequence_cls.yaml", "--data", "BraTS2021"),
    "brats2023": ("brats_sequence_cls.yaml",),
    "brats2024_goat": ("brats_sequence_cls.yaml", "--data", "BraTS2024GoAT"),
    "cohort": ("cohort_cls.yaml",),
    "ixi": ("brain_age_reg.yaml", "--data", "IXI"),
    "long579": ("brain_age_reg.yaml", "--data", "LONG579"),
    "oasis": ("oasis_cls.yaml",),
    "pixar": ("brain_age_reg.yaml", "--data", "Pixar"),
    "ucsf_pdgm": ("mutation_ucsf.yaml",),
    "upenn_gbm": ("upenn_survival_cls.yaml",),
}
FITS = ("folder", "bids")  # those without labels


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Planted]]:
    """Write a dataset's folder once: `data/`, `m.csv` and a `store/` of 4 slices of 16 x 16."""
    parent = tmp_path_factory.mktemp("every")

    @cache
    def make(name: str) -> tuple[Path, Planted]:
        folder = parent / name
        people = 24 if name == "brain_age" else 20
        synth = ["--people", str(people), "--shape", "[12,12,12]", "--seed", "1"]
        written: list[Planted] = []

        def write(root: Path, **options: Any) -> Planted:
            written.append(generator(name)(root, **options))
            return written[-1]

        with pytest.MonkeyPatch.context() as patch:  # records what the verb's generator wrote
            patch.setattr("braindino.synthetic.generator", lambda _: write)
            assert main(["synth", str(folder / "data"), "--dataset", name, *synth]) == 0
        (planted,) = written
        manifest, store = str(folder / "m.csv"), str(folder / "store")
        assert main(["index", str(folder / "data"), "--dataset", name, "--out", manifest]) == 0
        # The copy of ATLAS has one mask that was drawn on another scan.
        rejected = int(name == "atlas")
        assert main(["prepare", manifest, "--store", store, "--depth", "4", "--size", "16"]) == rejected
        assert len(Store.open(folder / "store").rejects()) == rejected
        return folder, planted

    return make


def test_every_dataset_has_a_generator_and_a_config() -> None:
    assert set(PROBES) | set(FITS) == set(DATASETS) == set(GENERATORS)


@pytest.mark.parametrize("name", [*PROBES, *FITS])
def test_index_lists_what_synth_wrote(made: Callable[[str], tuple[Path, Planted]], name: str) -> None:
    folder, planted = made(name)
    manifest = Manifest.read(folder / "m.csv")
    cases = manifest.table.drop_duplicates(list(IDENTITY))
    assert len(cases) == len(planted.scans) > 10
    assert manifest.dropped["reason"].value_counts().to_dict() == planted.dropped
    assert planted.dropped
    whose = {(scan.get("dataset"), scan.get("person", scan["subject"])) for scan in planted.scans}
    assert manifest.table["group"].nunique() == len(whose)
    if name == "brain_age":
        assert (cases["group"] == cases["dataset"] + ":" + cases["subject"]).all()
    for label in dataset_class(name).target:
        expected = Counter(str(scan[label]) for scan in planted.scans)
        if cases[label].dtype == float:
            labels = Counter(str(round(float(value), 3)) for value in cases[label])
            expected = Counter(str(round(float(str(scan[label])), 3)) for scan in planted.scans)
        else:
            labels = Counter(cases[label].astype(str))
        assert labels == expected
    images = manifest.table[manifest.table["modality"] != MASK]
    prepared = Store.open(folder / "store").index()
    assert sorted(prepared["path"]) == sorted(images["path"])
    assert set(dataset_class(name)(folder).modalities) <= set(prepared["modality"])


@pytest.mark.parametrize("name", PROBES)
def test_probe_runs_by_a_shipped_config(
    made: Callable[[str], tuple[Path, Planted]], name: str, tmp_path: Path
) -> None:
    folder, _ = made(name)
    config, *added = PROBES[name]
    root = folder / "data" / ("patients.csv" if name == "cohort" else "")
    command = [
        *("probe", "--config", config, *added, "--data.root", str(root), "--data.jobs", "1"),
        *("--data.store", str(folder / "store"), "--model.encoder", SCRATCH, "--run.root", str(tmp_path)),
        *("--probe.seeds", "[0]", "--probe.max_epochs", "1", "--probe.baselines", "false"),
        *("--trainer.accelerator", "cpu", "--probe.resamples", "0"),
    ]
    assert main(command) == 0
    (run,) = tmp_path.glob("*/*/*")
    results = read_json(run / "results.json")
    predictions = read_predictions(run / "predictions.csv")
    given = yaml.safe_load(shipped_configs()[config].read_text())["data"]["init_args"]
    options = {key: value for key, value in given.items() if key not in ("root", "store")}
    module = dataset_class(name)(root, folder / "store", **options)
    module.setup()
    assert results["dropped"]["cases"] == 0
    assert results["dropped"]["scans"] == len(module.dropped)
    # GoAT's copy drops cases without a mask, which the sequence of a volume does not need.
    assert (len(module.dropped) > 0) == (name != "brats2024_goat")
    assert results["target"] == list(module.target)
    assert results["classes"] == list(module.classes)
    assert sum(part["cases"] for part in results["cases"].values()) == len(module.cases)
    evaluated = module.cases[module.cases["split"] != "train"].set_index("case")
    assert set(predictions["case"]) == set(evaluated.index)
    known = evaluated.loc[predictions["case"], module.target[0]]
    assert predictions["target"].tolist() == known.tolist()
    if module.classes:
        assert set(predictions["target"]) == set(module.classes)


@pytest.mark.parametrize("name", FITS)
def test_fit_runs_a_step_by_a_shipped_config(
    made: Callable[[str], tuple[Path, Planted]], name: str, tmp_path: Path
) -> None:
    folder, planted = made(name)
    manifest = Manifest.read(folder / "m.csv")
    assert len(manifest.table) > len(planted.scans)  # FLAIR serves pretraining, too
    assert set(Store.open(folder / "store").index()["path"]) == set(manifest.table["path"])
    command = ["fit", "--config", "pretrain.yaml", "--config", FIT, f"--data.store={folder / 'store'}"]
    assert main([*command, "--run.root", str(tmp_path), "--trainer.max_steps", "1"]) == 0
    assert list(tmp_path.glob("pretrain/*/checkpoints/*.ckpt"))


def test_case_features_mask_missing_modalities(
    made: Callable[[str], tuple[Path, Planted]],
) -> None:
    folder, _ = made("ucsf_pdgm")
    sequences = ["T1w", "T1c", "T2w", "FLAIR"]
    module = UCSFPDGM(folder / "m.csv", folder / "store", modalities=sequences)
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


def test_index_passes_options_of_a_base_class(
    made: Callable[[str], tuple[Path, Planted]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = str(made("brats2023")[0] / "data"), str(tmp_path / "m.csv")
    command = ["index", data, "--dataset", "brats2023", "--out", out]
    assert main([*command, "--options", "{target: sequence, cohorts: [MEN]}"]) == 0
    printed = capsys.readouterr().out
    assert "sequence    T1c " in printed
    assert "cohort GLI is not requested" in printed
