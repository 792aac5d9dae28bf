"""The demo holds its promise: true labels are found, shuffled ones are not, a second run reuses all."""

from pathlib import Path

import pandas as pd
import pytest

from braindino.cli.demo import MADE
from braindino.cli.main import main
from braindino.files import read_json

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--out", str(out)]) == 0
    return out


def auroc(runs: Path) -> dict[str, float]:
    """Mean over seeds and its interval over people, of the one probe in `runs`."""
    (path,) = runs.glob("adni_cls/*/*/results.json")
    numbers: dict[str, float] = read_json(path)["summary"][0]["test"]["metrics"]["auroc"]
    return numbers


def test_true_labels_are_found(made: Path) -> None:
    numbers = auroc(made / "runs")
    assert numbers["value"] >= 0.8
    assert numbers["low"] > 0.5
    assert all((made / path).exists() for path in MADE)


def test_shuffled_labels_are_not(made: Path, tmp_path: Path) -> None:
    manifest = made / "shuffled.csv"
    table = pd.read_csv(made / "adni.csv", dtype=str, keep_default_na=False)
    table["diagnosis"] = table["diagnosis"].sample(frac=1, random_state=0).to_numpy()
    table.to_csv(manifest, index=False)
    command = [
        *("probe", "--config", "adni_cls.yaml", "--data.root", str(manifest), "--probe.baselines", "false"),
        *("--data.store", str(made / "store"), "--model.encoder", str(made / "encoder")),
    ]
    assert main([*command, "--run.root", str(tmp_path)]) == 0
    numbers = auroc(tmp_path)
    assert numbers["low"] < 0.5 < numbers["high"]


def test_a_second_run_reuses_everything(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = [made / "store", made / "runs", made / "ADNI"]
    before = {p: p.stat().st_mtime_ns for folder in kept for p in folder.rglob("*.n*y") if p.is_file()}
    checkpoints = sorted((made / "runs" / "pretrain" / "demo" / "checkpoints").iterdir())
    assert main(["demo", "--out", str(made)]) == 0
    shown = capsys.readouterr().out
    assert "already there 132" in shown
    assert "step " not in shown
    assert checkpoints == sorted((made / "runs" / "pretrain" / "demo" / "checkpoints").iterdir())
    assert before == {p: p.stat().st_mtime_ns for p in before}
