from pathlib import Path

import pandas as pd
import pytest
import yaml

import braindino
from braindino.analysis.comparison.compare_models import COLUMNS
from braindino.analysis.predictions import format_predictions
from braindino.errors import BraindinoError
from tests.helpers.predictions import cells, classification, segmentation


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Two encoders on one task."""
    folders = []
    for encoder, signal in (("good", 2.0), ("bad", 0.5)):
        run = tmp_path / "runs" / "adni_cls" / encoder / "1"
        run.mkdir(parents=True)
        (run / "predictions.csv").write_text(format_predictions(cells(classification, signal=signal)))
        folders.append(run)
    return folders


def test_compare_returns_a_table_and_writes_nothing(
    runs: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tmp_path.rglob("*"))
    comparison = braindino.compare(runs, resamples=50)
    assert list(comparison.table.columns) == list(COLUMNS)
    assert set(comparison.table["first"]) == {"good"}
    assert comparison.models["bad"]["adni_cls"].path == runs[1]
    assert comparison.notes == []
    assert comparison.leakage == [
        "adni_cls: good: no leakage audit beside its predictions.",
        "adni_cls: bad: no leakage audit beside its predictions.",
    ]
    assert comparison.untrained.empty
    assert sorted(tmp_path.rglob("*")) == before
    assert capfd.readouterr() == ("", "")


def test_compare_writes_the_table_it_returns(runs: list[Path], tmp_path: Path) -> None:
    comparison = braindino.compare(str(tmp_path / "runs"), out=str(tmp_path / "out"), resamples=50)
    written = pd.read_csv(tmp_path / "out" / "compare.csv")
    assert written["difference"].tolist() == pytest.approx(comparison.table["difference"].tolist())


def test_compare_lists_settings_in_which_runs_of_fit_differ(tmp_path: Path) -> None:
    folders = []
    for name, steps, network in (("swin", 100, "SwinUNETRModule"), ("unet", 50, "DynUNetModule")):
        run = tmp_path / "brats" / name
        run.mkdir(parents=True)
        (run / "predictions.csv").write_text(format_predictions(cells(segmentation)))
        config = {
            "trainer": {"max_steps": steps, "devices": steps},
            "model": {"class_path": network, "init_args": {"width": steps, "optimiser": {"lr": 0.1}}},
            "run": {"name": "brats"},
        }
        (run / "config.yaml").write_text(yaml.safe_dump(config))
        folders.append(run)
    comparison = braindino.compare(folders, resamples=50)
    assert comparison.notes == [
        "brats: swin and unet were trained with different settings: trainer.max_steps 100 and 50."
    ]
    (folders[1] / "config.yaml").write_text("run: {name: brats}\nmodel: {encoder: a}\n")
    assert braindino.compare(folders, resamples=50).notes == []


def test_compare_rejects_a_single_model(runs: list[Path]) -> None:
    with pytest.raises(BraindinoError, match=r"one model only \(good\)"):
        braindino.compare(runs[0])
