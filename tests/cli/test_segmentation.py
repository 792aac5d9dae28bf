"""Segmentation through the command: every shipped config on its dataset's copy, and masks of a user."""

import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml

from braindino.analysis.predictions import read_predictions
from braindino.cli.config.files import shipped_configs
from braindino.cli.main import main
from braindino.datasets import dataset_class
from braindino.files import read_json
from braindino.synthetic import generator
from tests.helpers.tiny_vit import SCRATCH

CONFIGS = {
    "seg_atlas": "atlas",
    "seg_brats2021": "brats2021",
    "seg_brats2023_men": "brats2023",
    "seg_brats2023_met": "brats2023",
    "seg_brats2024_goat": "brats2024_goat",
}


def probe(config: str, data: Path, store: Path, runs: Path, *more: str) -> int:
    return main(
        [
            *("probe", "--config", f"{config}.yaml", "--data.root", str(data), "--data.store", str(store)),
            *(
                "--data.jobs",
                "1",
                "--data.num_workers",
                "0",
                "--model.encoder",
                SCRATCH,
                "--run.root",
                str(runs),
            ),
            *("--probe.seeds", "[0]", "--probe.max_epochs", "1", "--probe.baselines", "false"),
            *("--trainer.accelerator", "cpu", "--probe.resamples", "10", *more),
        ]
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes, once per dataset, a folder with `data/`, `m.csv` and a `store/` of 4 slices of 16 x 16."""
    parent = tmp_path_factory.mktemp("masks")

    @cache
    def make(name: str) -> Path:
        folder = parent / name
        generator(name)(folder / "data", people=18, sessions=1, shape=(12, 12, 12), seed=1)
        manifest, store = str(folder / "m.csv"), str(folder / "store")
        assert main(["index", str(folder / "data"), "--dataset", name, "--out", manifest]) == 0
        assert main(["prepare", manifest, "--store", store, "--depth", "4", "--size", "16"]) < 2  # a bad mask
        return folder

    return make


@pytest.mark.parametrize("config", CONFIGS)
def test_probe_runs_every_shipped_segmentation_config(
    made: Callable[[str], Path], config: str, tmp_path: Path
) -> None:
    folder = made(CONFIGS[config])
    assert probe(config, folder / "data", folder / "store", tmp_path) == 0
    (run,) = tmp_path.glob(f"{config}/*/*")
    table, results = read_predictions(run / "predictions.csv"), read_json(run / "results.json")
    given = yaml.safe_load(shipped_configs()[f"{config}.yaml"].read_text())["data"]["init_args"]
    options = {key: value for key, value in given.items() if key not in ("root", "store")}
    module = dataset_class(CONFIGS[config])(folder / "data", folder / "store", **options)
    module.setup()
    regions = ["lesion"] if config == "seg_atlas" else ["WT", "TC", "ET"]
    assert results["classes"] == regions == list(module.regions)
    assert results["task"] == "segmentation"
    dropped = pd.read_csv(run / "dropped.csv")["reason"].str.contains("mask of shape")
    assert dropped.sum() == (config == "seg_atlas")  # one mask of another shape is planted
    module.cases = module.cases[module.cases["case"].isin(pd.read_csv(run / "cases.csv")["case"])]
    evaluated = module.cases[module.cases["split"] != "train"]
    assert set(table["case"]) == set(evaluated["case"])
    assert table.groupby("case")["region"].agg(list).map(lambda names: names == regions).all()
    for _, row in table.iterrows():
        labels = module.labels_of(evaluated.index[evaluated["case"] == row["case"]][0])
        voxels = np.isin(labels.data, module.regions[row["region"]]).sum()
        assert row["true_ml"] == pytest.approx(voxels * abs(np.linalg.det(labels.affine[:3, :3])) / 1000)


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An nnU-Net folder of 12 cases, and `cases.csv`, a table of the same."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(12):
        image = rng.normal(100, 10, (16, 16, 6)).astype(np.float32)
        mask = np.zeros(image.shape, np.uint8)
        mask[3 : 8 + i % 3, 4:9, 1:4] = 1
        for part, values in {
            f"imagesTr/c{i:02d}_0000": image + 80 * mask,
            f"labelsTr/c{i:02d}": mask,
        }.items():
            path = folder / f"{part}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values, np.diag([1.0, 1.0, 2.0, 1.0])), path)
        rows.append((f"c{i:02d}", f"imagesTr/c{i:02d}_0000.nii.gz", f"labelsTr/c{i:02d}.nii.gz"))
    (folder / "dataset.json").write_text(
        json.dumps(
            {"channel_names": {"0": "T1w"}, "labels": {"background": 0, "lesion": 1}, "numTraining": 12}
        )
    )
    pd.DataFrame(rows, columns=["id", "scan", "outline"]).to_csv(folder.parent / "cases.csv", index=False)
    manifest = str(folder.parent / "m.csv")
    assert (
        main(
            ["index", str(folder), "--dataset", "cohort", "--out", manifest, "--options.task", "segmentation"]
        )
        == 0
    )
    store = str(folder.parent / "own_store")
    assert main(["prepare", manifest, "--store", store, "--depth", "6", "--size", "16"]) == 0
    return folder


def test_probe_gives_the_same_masks_for_an_nnunet_folder_and_a_table(nnunet: Path, tmp_path: Path) -> None:
    store = nnunet.parent / "own_store"
    assert probe("cohort_seg", nnunet, store, tmp_path, "--run.id", "nnunet") == 0
    table = [
        *("--data.path", "{T1w: scan, mask: outline}", "--data.regions", "{lesion: [1]}"),
        *("--data.scans", str(nnunet), "--data.dataset", nnunet.name, "--run.id", "table"),
    ]
    assert probe("cohort_seg", nnunet.parent / "cases.csv", store, tmp_path, *table) == 0
    runs = [next(tmp_path.glob(f"cohort_seg/*/{name}")) for name in ("nnunet", "table")]
    first, second = (read_predictions(run / "predictions.csv") for run in runs)
    columns = ["region", "true_ml", "predicted_ml", "dice"]
    assert first[columns].equals(second[columns])


def test_probe_caches_tokens_of_slices_that_do_not_change(
    nnunet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = nnunet.parent / "own_store"
    plain = ("--model.augment", "false", "--probe.cache", str(tmp_path / "cache"))
    assert probe("cohort_seg", nnunet, store, tmp_path / "runs", *plain, "--cache-gb", "1") == 0
    assert "tokens: 12 of 12 (100 %)" in capsys.readouterr().err
    assert len(list((tmp_path / "cache").rglob("tokens-*/*/*.safetensors"))) == 12
    # Neither the cache nor its size is part of the run's id: the same study is already finished.
    assert probe("cohort_seg", nnunet, store, tmp_path / "runs", *plain[:2], "--cache-gb=0") == 0
    assert len(list((tmp_path / "runs").rglob("cell.json"))) == 1
    assert probe("cohort_seg", nnunet, store, tmp_path / "runs", *plain, "--cache-gb", "-1") == 2
    assert "probe.cache_gb -1.0: expected 0 or more" in capsys.readouterr().err


def test_probe_trains_with_the_options_of_the_documentation(nnunet: Path, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "segmentation.md").read_text("utf-8")
    (options,) = re.findall(r"```yaml\n(model:.*?)```", page, re.DOTALL)
    (tmp_path / "options.yaml").write_text(options, "utf-8")
    more = ("--config", str(tmp_path / "options.yaml"), "--model.ema", "0.9")
    assert probe("cohort_seg", nnunet, nnunet.parent / "own_store", tmp_path, *more) == 0
    (file,) = tmp_path.glob("cohort_seg/*/*/study.json")
    model = read_json(file)["model"]
    head = {"hard_empty": 0.2, "criterion": "dice_topk", "deep_supervision": True}
    assert model["head"].items() >= head.items()
    assert (model["augment"]["rotation"], model["augment"]["flip"], model["ema"]) == (15, 0.5, 0.9)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model.head.foreground", "2"], "foreground 2"),
        (["--model.head", "braindino.probing.ClassificationHead"], "ClassificationHead predicts no masks"),
        (["--model.pooling", "MeanPooling"], "SegmentationHead decodes patch tokens and pools nothing"),
        (["--data.task", "regression"], "no labels"),
        (["--model.augment", "{flp: 1}"], "flp"),
        (["--model.head.init_args.decoder", "covn"], "decoder"),
        (["--model.head.image_size", "100"], "image_size 100: expected one number or two (rows, columns)"),
        (["--model.head.image_size", "[8, 8, 8]"], "image_size [8, 8, 8]: expected one number or two"),
        (["--model.head.neighbours", "-1"], "neighbours -1: expected 0 or more"),
        (["--model.head.decoder", "unet", "--model.head.image_size", "64"], "decoder unet has no encoder"),
        (["--model.head.decoder", "paper", "--model.head.deep_supervision", "true"], "no coarser maps"),
        (["--model.augment", "{rotation: 200}"], "rotation 200.0: expected 0 to 180"),
        (["--model.ema", "1"], "model.ema 1.0: expected 0 to less than 1"),
        (["--model.head.init_args.hard_empty", "0.9"], "hard_empty 0.9: expected 0 to 0.67"),
        (["--model.head.init_args.criterion", "dice"], "criterion"),
    ],
)
def test_probe_reports_wrong_segmentation_input_in_three_lines(
    nnunet: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe("cohort_seg", nnunet, nnunet.parent / "own_store", tmp_path, *more) == 2
    shown = capsys.readouterr().err
    assert message in shown
    message = shown[shown.index("braindino: error") :]  # after the lines of progress of a slow machine
    assert len(message.strip().splitlines()) <= 3
