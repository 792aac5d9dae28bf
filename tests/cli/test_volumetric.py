"""BrainSegFounder through the command: its stages, fine-tuning, test, and its encoder behind a probe."""

from collections.abc import Callable
from pathlib import Path

import pytest

from braindino.analysis.predictions import read_predictions
from braindino.cli.main import main
from braindino.datasets.synthetic import generator
from braindino.files import read_json

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


def test_stages_flow_through_the_command(
    brats: Path, fit: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ["--data.store", str(brats / "store_3d")]
    one = fit("brainsegfounder_stage1", *store)
    assert "next: braindino probe" in capsys.readouterr().out
    two = fit("brainsegfounder_stage2", *store, "--model.init_from", str(one))
    cases = ["--data.cases.root", str(brats / "m.csv"), "--data.cases.store", str(brats / "store_3d")]
    three = fit(
        "brats_swinunetr", *cases, "--model.init_from", str(two), "--model.norm", "group",
        "--trainer.check_val_every_n_epoch", "1", "--data.steps_per_epoch", "2", "--model.resamples", "10",
    )  # fmt: skip
    assert (three / "best.ckpt").is_file()
    assert main(["test", "--config", str(three / "config.yaml"), "--run.id", "x"]) == 0
    rows = read_predictions(three / "predictions.csv")
    assert set(rows["region"]) == {"WT", "TC", "ET"}
    assert read_json(three / "results.json")["audit"]["pretraining"]["people"] > 0
    assert main(["report", str(three), "--out", str(tmp_path / "report.html"), "--resamples", "10"]) == 0


def test_the_encoder_of_a_run_goes_behind_a_probe(
    brats: Path, fit: Callable[..., Path], tmp_path: Path
) -> None:
    one = fit("brainsegfounder_tiny", "--data.store", str(brats / "store_3d"))
    arguments = [
        "--data", "BraTS2021", "--data.root", str(brats / "m.csv"), "--data.store", str(brats / "store_3d"),
        "--model.encoder", f"brainsegfounder:{one}", "--run.root", str(tmp_path / "probes"),
        "--probe.seeds", "[0]",
        "--probe.max_epochs", "1", "--probe.resamples", "10", "--trainer.accelerator", "cpu",
    ]  # fmt: skip
    assert main(["probe", "--config", "brats_sequence_cls.yaml", *arguments]) == 0
    (results,) = (tmp_path / "probes").rglob("results.json")
    found = read_json(results)
    assert found["encoder"]["name"].startswith("brainsegfounder:")
    assert "untrained_encoder" in found["baselines"]
