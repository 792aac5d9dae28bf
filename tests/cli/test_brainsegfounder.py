"""BrainSegFounder through the command: both stages, fine-tuning, test, and probing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from braindino.analysis.predictions import read_predictions
from braindino.cli.config.files import find_config
from braindino.cli.main import main
from braindino.documents import load_yaml
from braindino.encoders.volumes.swin import SwinShape, swin
from braindino.encoders.weight_files import last_checkpoint, read_file
from braindino.files import read_json
from braindino.synthetic import generator

SMALL = [
    "--model.depth", "[1, 1, 1, 1]", "--model.window", "2", "--model.width", "12",
    "--model.heads", "[1, 2, 4, 8]", "--trainer.accelerator", "cpu", "--trainer.devices", "1",
    "--trainer.precision", "32-true", "--data.num_workers", "0", "--data.crop", "32",
]  # fmt: skip


@pytest.fixture(scope="module")
def brats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data/`, `m.csv` and a `store_3d/` of volumes of 32^3."""
    folder = tmp_path_factory.mktemp("brats")
    generator("brats2021")(folder / "data", people=10, sessions=1, shape=(20, 20, 20), seed=1)
    manifest, store = str(folder / "m.csv"), str(folder / "store_3d")
    assert main(["index", str(folder / "data"), "--dataset", "brats2021", "--out", manifest]) == 0
    arguments = ["--contract", "volume", "--spacing", "6", "--depth", "32", "--size", "32"]
    assert main(["prepare", manifest, "--store", store, *arguments]) == 0
    return folder


@pytest.fixture
def fit(brats: Path, tmp_path: Path) -> Callable[..., Path]:
    """Runs a shipped config for two steps; returns the run folder."""

    def run(config: str, *more: str) -> Path:
        arguments = ["--trainer.max_steps", "2", "--run.root", str(tmp_path), "--run.id", "x", *SMALL, *more]
        assert main(["fit", "--config", f"{config}.yaml", *arguments]) == 0
        return tmp_path / config / "x"

    return run


def test_fit_runs_both_stages_and_fine_tuning(
    brats: Path, fit: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--data.store", str(brats / "store_3d")]
    one = fit("brainsegfounder_stage1", *store)
    assert "next: braindino probe" in capsys.readouterr().out
    two = fit("brainsegfounder_stage2", *store, "--model.init_from", str(one))
    report = "1 inflated (patch_embed.proj.weight), 0 missing, 0 unexpected"
    assert report in capsys.readouterr().out
    cases = ["--data.cases.root", str(brats / "m.csv"), "--data.cases.store", str(brats / "store_3d")]
    three = fit(
        "brats_swinunetr", *cases, "--model.init_from", str(two), "--model.norm", "group",
        "--trainer.check_val_every_n_epoch", "1", "--data.steps_per_epoch", "2", "--model.resamples", "10",
    )  # fmt: skip
    shown = capsys.readouterr().out
    assert f"model.init_from {two}" in shown
    assert f"next: braindino test --config {three / 'config.yaml'} --run.id x" in shown
    assert (three / "best.ckpt").is_file()
    assert main(["test", "--config", str(three / "config.yaml"), "--run.id", "x"]) == 0
    rows = read_predictions(three / "predictions.csv")
    assert set(rows["region"]) == {"WT", "TC", "ET"}
    assert read_json(three / "results.json")["audit"]["pretraining"]["people"] > 0
    assert main(["report", str(three), "--out", str(tmp_path / "report.html"), "--resamples", "10"]) == 0


def test_fit_trains_a_unet_by_the_config_of_swin_unetr(
    brats: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--config", "brats_swinunetr_tiny.yaml", "--run.root", str(tmp_path), "--run.id", "unet",
        "--data.cases.root", str(brats / "m.csv"), "--data.cases.store", str(brats / "store_3d"),
        "--data.steps_per_epoch", "1", "--trainer.max_steps", "1", "--trainer.check_val_every_n_epoch", "1",
        "--model", "DynUNetModule", "--model.width", "4", "--model.resamples", "10",
    ]  # fmt: skip
    assert main(["fit", *arguments]) == 0
    run = tmp_path / "brats_swinunetr_tiny" / "unet"
    assert f"next: braindino test --config {run / 'config.yaml'} --run.id unet" in capsys.readouterr().out
    config = load_yaml(run / "config.yaml")
    model = config["model"]["init_args"]
    assert (model["norm"], model["optimiser"]["lr"]) == ("group", 0.003)  # of the file
    assert not {"heads", "window", "init_from"} & set(model)
    assert main(["test", "--config", str(run / "config.yaml"), "--run.id", "unet"]) == 0
    assert set(read_predictions(run / "predictions.csv")["region"]) == {"WT", "TC", "ET"}
    assert main(["fit", *arguments]) == 0
    assert "nothing to train" in capsys.readouterr().out
    assert main(["fit", *arguments, "--model.init_from", str(run)]) == 2
    assert "'init_from' is not accepted" in capsys.readouterr().err


def under_former_name(config: Path, target: Path) -> Path:
    """Write a config that names its module in `braindino.volumetric`."""
    text = config.read_text()
    assert "braindino.brainsegfounder.Swin" in text
    target.write_text(text.replace("braindino.brainsegfounder.Swin", "braindino.volumetric.Swin"))
    return target


def test_fit_and_test_accept_the_former_module_name(brats: Path, tmp_path: Path) -> None:
    """Configs that name `braindino.volumetric` stay valid."""
    config = under_former_name(find_config("brats_swinunetr_tiny"), tmp_path / "mine.yaml")
    arguments = [
        "--data.cases.root", str(brats / "m.csv"), "--data.cases.store", str(brats / "store_3d"),
        "--data.steps_per_epoch", "1", "--trainer.max_steps", "1", "--trainer.check_val_every_n_epoch", "1",
        "--model.resamples", "10", "--run.root", str(tmp_path), "--run.name", "old", "--run.id", "x", *SMALL,
    ]  # fmt: skip
    assert main(["fit", "--config", str(config), *arguments]) == 0
    run = tmp_path / "old" / "x"
    assert "class_path: braindino.volumetric.SwinUNETRModule" in (run / "config.yaml").read_text()
    assert main(["test", "--config", str(run / "config.yaml"), "--run.id", "x"]) == 0
    assert set(read_predictions(run / "predictions.csv")["region"]) == {"WT", "TC", "ET"}


def test_fit_continues_a_run_of_the_former_module_name(
    brats: Path, fit: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data.store", str(brats / "store_3d"), "--model.activation_checkpointing", "false"]
    run = fit("brainsegfounder_stage1_tiny", *options)
    under_former_name(run / "config.yaml", run / "config.yaml")
    capsys.readouterr()
    fit("brainsegfounder_stage1_tiny", *options)
    assert f"nothing to train: {run} is finished (2 steps done, 2 requested)" in capsys.readouterr().out
    fit("brainsegfounder_stage1_tiny", *options, "--trainer.max_steps", "3")
    shown = capsys.readouterr().out
    assert "class_path" not in shown
    assert read_file(last_checkpoint(run))["global_step"] == 3
    assert "braindino.brainsegfounder.SwinSSLModule" in (run / "config.yaml").read_text()


def test_fit_fine_tunes_on_the_folds_of_a_file(brats: Path, fit: Callable[..., Path]) -> None:
    entries: list[dict[str, Any]] = []
    for mask in sorted((brats / "data").rglob("*_seg.nii.gz")):
        stem = str(mask).removesuffix("_seg.nii.gz")
        images = [f"{stem}_{name}.nii.gz" for name in ("flair", "t1ce", "t1", "t2")]
        entries.append({"fold": len(entries) % 3, "image": images, "label": str(mask)})
    (brats / "folds.json").write_text(json.dumps({"training": entries}))
    run = fit(
        "brats_swinunetr_tiny", "--data.cases", "braindino.datasets.BraTSFolds",
        "--data.cases.root", str(brats / "folds.json"), "--data.cases.store", str(brats / "store_3d"),
        "--data.cases.fold", "1", "--trainer.check_val_every_n_epoch", "1", "--data.steps_per_epoch", "1",
        "--trainer.max_steps", "1", "--model.resamples", "10",
    )  # fmt: skip
    assert main(["test", "--config", str(run / "config.yaml"), "--run.id", "x"]) == 0
    rows = read_predictions(run / "predictions.csv")
    tested = set(rows.loc[rows["split"] == "test", "case"].str.removeprefix("brats_folds:"))
    assert tested == {Path(entry["label"]).parent.name for entry in entries if entry["fold"] == 1}


@pytest.mark.parametrize(
    ("config", "wrong", "error"),
    [
        (
            "brats_swinunetr_tiny",
            ["--model.init_from", "{folder}/prefix.pt"],
            "no key begins with 'encoder.'",
        ),
        (
            "brainsegfounder_stage2_tiny",
            ["--model.init_from", "{folder}/narrow.pt"],
            "Give model.depth, width",
        ),
        ("brats_swinunetr_tiny", ["--model.init_from", "nowhere"], "no run folder and no file of weights"),
        (
            "brats_swinunetr_tiny",
            ["--data.cases", "braindino.datasets.BraTSFolds", "--data.cases.root", "nowhere.json"],
            "nowhere.json: no such fold file",
        ),
    ],
)
def test_fit_rejects_a_start_that_does_not_fit(
    brats: Path,
    tmp_path: Path,
    config: str,
    wrong: list[str],
    error: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shape = SwinShape(width=24, depths=(1, 1, 1, 1), heads=(1, 2, 4, 8), window=2)
    for name, prefix in (("prefix", "model."), ("narrow", "module.swinViT.")):
        weights = {prefix + key: value for key, value in swin(shape).state_dict().items()}
        torch.save({"state_dict": weights}, tmp_path / f"{name}.pt")
    store, manifest = str(brats / "store_3d"), str(brats / "m.csv")
    data = ["--data.store", store] if "stage2" in config else ["--data.cases.root", manifest]
    data += [] if "stage2" in config else ["--data.cases.store", store]
    given = [word.format(folder=tmp_path) for word in wrong]
    runs = ["--run.root", str(tmp_path), "--run.id", "x", *SMALL]
    assert main(["fit", "--config", f"{config}.yaml", *data, *runs, *given]) == 2
    assert error in capsys.readouterr().err


def test_probe_takes_the_encoder_of_a_run(brats: Path, fit: Callable[..., Path], tmp_path: Path) -> None:
    one = fit("brainsegfounder_stage1_tiny", "--data.store", str(brats / "store_3d"))
    arguments = [
        "--data", "BraTS2021", "--data.root", str(brats / "m.csv"), "--data.store", str(brats / "store_3d"),
        "--model.encoder", f"brainsegfounder:{one}", "--run.root", str(tmp_path / "probes"),
        "--probe.seeds", "[0]",
        "--probe.max_epochs", "1", "--probe.resamples", "10", "--trainer.accelerator", "cpu",
    ]  # fmt: skip
    assert main(["probe", "--config", "brats_sequence_cls.yaml", *arguments]) == 0
    (results,) = (tmp_path / "probes").rglob("results.json")
    content = read_json(results)
    assert content["encoder"]["name"].startswith("brainsegfounder:")
    assert "untrained_encoder" in content["baselines"]
