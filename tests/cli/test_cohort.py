"""A user's table through index and probe, by the shipped config and by options."""

from pathlib import Path

import pandas as pd
import pytest

from braindino.cli.main import main
from braindino.files import read_json
from tests.helpers.tiny_vit import SCRATCH


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`data/patients.csv` with its scans, and a store of 4 slices of 16 x 16."""
    folder = tmp_path_factory.mktemp("study")
    data, manifest = folder / "data", folder / "m.csv"
    synth = ["synth", str(data), "--dataset", "cohort", "--people", "14", "--sessions", "1"]
    assert main([*synth, "--shape", "[12,12,12]"]) == 0
    assert main(["index", str(data), "--dataset", "cohort", "--out", str(manifest)]) == 0
    store = str(folder / "store")
    assert main(["prepare", str(manifest), "--store", store, "--depth", "4", "--size", "16"]) == 0
    return folder


def test_probe_reads_a_users_table_by_the_shipped_config(study: Path) -> None:
    command = [
        *("probe", "--config", "cohort_cls.yaml", "--data.root", str(study / "data" / "patients.csv")),
        *("--data.store", str(study / "store"), "--model.encoder", SCRATCH),
        *("--run.root", str(study / "runs")),
        *("--probe.seeds", "[0]", "--probe.max_epochs", "1", "--probe.baselines", "false"),
        *("--trainer.accelerator", "cpu", "--probe.resamples", "0"),
    ]
    assert main(command) == 0
    (results,) = (study / "runs").glob("cohort_cls/*/*/results.json")
    content = read_json(results)
    assert content["classes"] == ["0", "1"]
    assert sum(part["people"] for part in content["cases"].values()) == 12


def test_index_takes_options_of_the_dataset(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = str(study / "data" / "patients.csv"), str(tmp_path / "m.csv")
    command = ["index", table, "--dataset", "cohort", "--out", out]
    assert main([*command, "--options.target", "sex", "--options.session", "visit"]) == 0
    assert "sex         F " in capsys.readouterr().out
    assert len(pd.read_csv(out)) == 13
    assert main([*command, "--options", "{target: age, task: regression}"]) == 0
    capsys.readouterr()
    assert main([*command, "--options.taget", "sex"]) == 2
    assert "cohort has no option 'taget'. Did you mean 'target'?" in capsys.readouterr().err


def test_index_does_not_overwrite_the_users_table(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = study / "data" / "patients.csv"
    before = table.read_bytes()
    assert main(["index", str(table), "--dataset", "cohort", "--out", str(table)]) == 2
    assert "is not a manifest; give another name with --out" in capsys.readouterr().err
    assert table.read_bytes() == before
