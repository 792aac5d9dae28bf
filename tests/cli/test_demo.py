"""Run the demo: it finds true labels, does not find shuffled ones, and reuses results."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from braindino.cli.demo import MADE
from braindino.cli.main import main
from braindino.files import read_json

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the demo in a separate process with one thread, because parallel tests share the cores."""
    out = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "braindino", "demo", "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return out


def auroc(runs: Path) -> dict[str, float]:
    """Return mean over seeds and interval over people of the only probe in `runs`."""
    (path,) = runs.glob("adni_cls/*/*/results.json")
    numbers: dict[str, float] = read_json(path)["summary"][0]["test"]["metrics"]["auroc"]
    return numbers


def test_demo_finds_true_labels(made: Path) -> None:
    numbers = auroc(made / "runs")
    assert numbers["value"] >= 0.8
    assert numbers["low"] > 0.5
    assert all((made / path).exists() for path in MADE)


def test_demo_does_not_find_shuffled_labels(made: Path, tmp_path: Path) -> None:
    """Permute diagnoses among people, with the visits of a person together."""
    table = pd.read_csv(made / "adni.csv", dtype=str, keep_default_na=False)
    latest = table.groupby("group")["diagnosis"].last()
    results = []
    for seed in range(4):
        permuted = latest.sample(frac=1, random_state=seed).to_numpy()
        manifest = made / f"shuffled{seed}.csv"
        labels = table["group"].map(dict(zip(latest.index, permuted, strict=True)))
        table.assign(diagnosis=labels).to_csv(manifest, index=False)
        command = [
            *("probe", "--config", "adni_cls.yaml", "--data.root", str(manifest), "--probe.seeds", "[0,1]"),
            *("--data.store", str(made / "store"), "--model.encoder", str(made / "encoder")),
            *("--run.root", str(tmp_path / str(seed)), "--probe.baselines", "false"),
        ]
        assert main(command) == 0
        results.append(auroc(tmp_path / str(seed)))
    # One test part has 18 people, so a single permutation scatters by 0.1; four of them by half of that.
    assert sum(numbers["value"] for numbers in results) / len(results) == pytest.approx(0.5, abs=0.12)
    assert sum(numbers["low"] < 0.5 < numbers["high"] for numbers in results) >= 3
    assert max(numbers["value"] for numbers in results) < 0.8


def test_demo_second_run_reuses_everything(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = [made / "store", made / "runs", made / "ADNI"]
    before = {p: p.stat().st_mtime_ns for folder in kept for p in folder.rglob("*.n*y") if p.is_file()}
    checkpoints = sorted((made / "runs" / "pretrain" / "demo" / "checkpoints").iterdir())
    assert main(["demo", "--out", str(made)]) == 0
    shown = capsys.readouterr().out
    assert "already there 132" in shown
    assert "step " not in shown
    assert checkpoints == sorted((made / "runs" / "pretrain" / "demo" / "checkpoints").iterdir())
    assert before == {p: p.stat().st_mtime_ns for p in before}
