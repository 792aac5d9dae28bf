"""Every shipped pretraining config, laid over with a tiny model, goes through two steps by the command."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from braindino.cli.config.files import shipped_configs
from braindino.cli.main import main
from braindino.encoders.weight_files import read_file
from braindino.pretraining.optimiser import OptimiserConfig
from braindino.pretraining.views.views import ViewsConfig
from tests.helpers.documents import blocks

CONF = Path(__file__).parent.parent / "conf"
STAGE_1 = sorted(name for name in shipped_configs() if name.startswith("pretrain") and "highres" not in name)


@pytest.mark.parametrize(
    ("config", "slices_per_step", "peak"),
    [
        ("pretrain.yaml", 800, 7.0711e-4),  # FlexiCT's 2e-4, DINOv3's rule
        ("pretrain_highres.yaml", 400, 1.25e-4),
        ("pretrain_small.yaml", 128, 5e-4),  # what it was tuned with
        ("pretrain_tiny.yaml", 32, 2e-3),
    ],
)
def test_shipped_configs_have_their_peak_learning_rate(
    config: str, slices_per_step: int, peak: float
) -> None:
    settings = yaml.safe_load(shipped_configs()[config].read_text())
    optimiser = OptimiserConfig(**settings["model"]["init_args"]["optimiser"])
    assert optimiser.peak(slices_per_step) == pytest.approx(peak, rel=1e-4)
    batch = settings["data"]["init_args"]["batch_size"]
    assert slices_per_step == batch * (1 if settings["trainer"]["devices"] == 1 else 8)


def test_shipped_config_of_stage_2_has_the_published_mixture_of_resolutions() -> None:
    """FlexiCT's fleximeddinov3_b_ct_highres.yaml: sizes by index, and their ratios."""
    settings = yaml.safe_load(shipped_configs()["pretrain_highres.yaml"].read_text())
    views = settings["model"]["init_args"]["views"]
    sizes = zip(views["global_size"], views["local_size"], views["gram_size"], views["ratios"], strict=True)
    assert list(sizes) == [
        (384, 112, 512, 0.3),
        (512, 112, 768, 0.3),
        (512, 144, 768, 0.3),
        (512, 168, 768, 0.05),
        (512, 224, 768, 0.05),
    ]
    arguments: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in views.items()}
    config = ViewsConfig(**arguments)
    config.check(16)
    drawn = [config.draw_resolution(np.random.default_rng(seed)).local_size for seed in range(2000)]
    assert drawn.count(112) / 2000 == pytest.approx(0.6, abs=0.04)
    assert drawn.count(168) / 2000 == pytest.approx(0.05, abs=0.02)


def fit(cohort: Path, runs: Path, config: str, *more: str) -> Path:
    """The run folder of two steps."""
    command = [
        *("fit", "--config", config, "--config", str(CONF / "tiny_fit.yaml"), *more),
        *(f"--data.store={cohort / 'store'}", "--run.root", str(runs), "--run.name", "r", "--run.id", "a"),
    ]
    assert main(command) == 0
    return runs / "r" / "a"


def losses(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["train/loss"]]


@pytest.mark.parametrize("config", STAGE_1)
def test_fit_runs_every_shipped_config_of_stage_1(cohort: Path, tmp_path: Path, config: str) -> None:
    run = fit(cohort, tmp_path, config)
    assert [row["step"] for row in losses(run)] == ["0", "1"]


def test_fit_runs_the_monitors_of_a_config(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(cohort)  # where the manifest is
    run = fit(cohort, tmp_path, "pretrain.yaml", "--config", str(CONF / "monitors.yaml"))
    with (run / "metrics.csv").open(newline="") as file:
        measured = {
            row["step"]: float(row["knn/accuracy"]) for row in csv.DictReader(file) if row["knn/accuracy"]
        }
    assert measured.keys() == {"0", "1"}
    assert all(0 <= value <= 1 for value in measured.values())
    pictures = {path.name for path in (run / "pictures").iterdir()}
    assert pictures == {
        "patches_step0000001.png",
        "patches_step0000002.png",
        "views_step0000000.png",
        "views_step0000001.png",
    }


def documented(title: str) -> str:
    """Return a config that docs/pretraining.md shows, measuring at every step."""
    (text,) = (block.text for block in blocks("docs/pretraining.md") if block.title == title)
    assert "5000" in text
    return text.replace("5000", "1")


def logged(run: Path, metric: str) -> dict[str, float]:
    with (run / "metrics.csv").open(newline="") as file:
        return {row["step"]: float(row[metric]) for row in csv.DictReader(file) if row.get(metric)}


def test_watch_config_of_the_docs_logs_neighbours_and_online_auroc(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "watch.yaml").write_text(documented("watch.yaml"))
    monkeypatch.chdir(cohort)  # where the manifest is
    run = fit(cohort, tmp_path, "pretrain.yaml", "--config", str(tmp_path / "watch.yaml"))
    for metric in ("knn/accuracy", "val/online_auroc"):
        values = logged(run, metric)
        assert list(values) == ["0", "1"]
        assert all(0 <= value <= 1 for value in values.values())
    assert (run / "pictures" / "patches_step0000001.png").is_file()


def test_watch_lesions_config_of_the_docs_logs_online_dice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in (
        "synth lesions --dataset atlas --people 14 --shape 32 32 16",
        "index lesions --dataset atlas --out atlas.csv",
        "prepare atlas.csv --store store --depth 16 --size 64",
    ):
        assert main(command.split()) == 0
    (tmp_path / "watch_lesions.yaml").write_text(documented("watch_lesions.yaml"))
    run = fit(tmp_path, tmp_path, "pretrain.yaml", "--config", "watch_lesions.yaml")
    values = logged(run, "val/online_dice")
    assert list(values) == ["0", "1"]
    assert all(0 <= value <= 1 for value in values.values())


def test_fit_starts_stage_2_by_one_option(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = fit(cohort, tmp_path / "1", "pretrain.yaml")
    capsys.readouterr()
    tiny = ("--config", str(CONF / "tiny_highres.yaml"), "--model.init_from", str(first))
    run = fit(cohort, tmp_path / "2", "pretrain_highres.yaml", *tiny)
    assert "model.init_from: backbone of" in capsys.readouterr().out
    rows = losses(run)
    assert [row["step"] for row in rows] == ["0", "1"]
    assert all(float(row["train/gram"]) > 0 for row in rows)
    config = yaml.safe_load((run / "config.yaml").read_text())["model"]["init_args"]
    assert config["views"]["flip"] == 0.0  # the tiny layers leave what they do not name
    assert config["optimiser"]["lr"] == 5e-5
    content = read_file(run / "checkpoints" / "step0000002.ckpt")
    starts = content["pretraining"]["starts"]
    assert [Path(start["source"]).parts[-2:] for start in starts] == [("checkpoints", "step0000002.ckpt")]
    assert str(tmp_path) not in str(starts)  # nothing of this machine
    # The same command continues it, though stage 1 is gone.
    for path in (first / "checkpoints").iterdir():
        path.unlink()
    fit(cohort, tmp_path / "2", "pretrain_highres.yaml", *tiny, "--trainer.max_steps", "3")
    printed = capsys.readouterr().out
    assert "continuing from" in printed
    assert "model.init_from" not in printed
    assert [row["step"] for row in losses(run)] == ["0", "1", "2"]


def test_fit_of_stage_2_without_stage_1_names_the_missing_option(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--config", "pretrain_highres.yaml", f"--data.store={cohort / 'store'}"]) == 2
    assert "model.init_from" in capsys.readouterr().err
