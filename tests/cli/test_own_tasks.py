"""Every kind of task on a user's table, through `Cohort` and the shipped configs."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from braindino.analysis.predictions import read_predictions
from braindino.cli.main import main
from braindino.files import read_json
from tests.helpers.tiny_vit import SCRATCH


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`table.csv` of 24 people with two sequences, some missing, and labels of every kind."""
    folder = tmp_path_factory.mktemp("tasks")
    synth = ["synth", str(folder / "data"), "--dataset", "cohort", "--people", "55", "--sessions", "1"]
    assert main([*synth, "--shape", "[12,12,12]"]) == 0
    rng = np.random.default_rng(0)
    scans = sorted((folder / "data").rglob("*.nii.gz"))
    rows = [
        {
            "id": f"p{number:02d}",
            "t1": path,
            "flair": "" if number % 5 == 0 else scans[number + 24],
            "grade": ("II", "III", "IV")[number % 3],
            "age": 40 + number,
            "days": round(float(rng.exponential(100)), 1),
            "died": int(number % 4 > 0),
            "sex": "FM"[number % 2],
            "site": "AB"[number // 2 % 2],
        }
        for number, path in enumerate(scans[:24])
    ]
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    table, manifest = str(folder / "table.csv"), str(folder / "m.csv")
    index = ["index", table, "--dataset", "cohort", "--out", manifest, "--options.target", "grade"]
    assert main([*index, "--options.path", "{T1w: t1, FLAIR: flair}"]) == 0
    store = str(folder / "store")
    assert main(["prepare", manifest, "--store", store, "--depth", "4", "--size", "16"]) == 0
    return folder


def probe(study: Path, runs: Path, config: str, *more: str) -> Path:
    command = [
        *("probe", "--config", f"{config}.yaml", "--data", "Cohort"),
        *("--data.root", str(study / "table.csv"), "--data.store", str(study / "store"), "--data.folds", "3"),
        *("--data.path", "{T1w: t1, FLAIR: flair}", "--model.encoder", SCRATCH, "--run.root", str(runs)),
        *("--probe.seeds", "[0]", "--probe.max_epochs", "2", "--probe.resamples", "20"),
        *("--probe.baselines", "false", "--trainer.accelerator", "cpu", *more),
    ]
    assert main(command) == 0
    (run,) = runs.glob(f"{config}/*/*")
    return run


@pytest.mark.parametrize(
    ("config", "more", "metric"),
    [
        ("adni_cls", ("--data.target", "grade"), "auroc"),
        ("brain_age_reg", ("--data.task", "regression", "--data.target", "age"), "mae"),
        ("atlas_reg", ("--data.task", "regression", "--data.target", "days"), "mae"),
        ("upenn_survival_cox", ("--data.task", "survival", "--data.target", "[days,died]"), "c_index"),
        ("knn_adni_oasis", ("--data.target", "died"), "auroc"),
        ("mutation_ucsf", ("--data.target", "died", "--data.modalities", "[FLAIR]"), "auroc"),
    ],
)
def test_probe_runs_every_task_on_a_users_table(
    study: Path, tmp_path: Path, config: str, more: tuple[str, ...], metric: str
) -> None:
    run = probe(study, tmp_path, config, *more)
    results = read_json(run / "results.json")
    expected = 19 if config == "mutation_ucsf" else 24
    assert results["summary"][0]["test"]["people"] == expected
    numbers = results["summary"][0]["test"]["metrics"][metric]
    assert np.isfinite([numbers["value"], numbers["low"], numbers["high"]]).all()
    assert {"sex", "site"} <= set(results["summary"][0]["subgroups"])


@pytest.mark.parametrize("pooling", ["MeanPooling", "GatedAttentionPooling"])
@pytest.mark.parametrize("fusion", ["mean", "concat", "attention"])
@pytest.mark.parametrize("missing", ["mask", "drop"])
def test_probe_pools_cases_with_missing_sequences(
    study: Path, tmp_path: Path, pooling: str, fusion: str, missing: str
) -> None:
    options: Any = ("--model.pooling", pooling, "--model.pooling.fusion", fusion, "--probe.missing", missing)
    patches = ("--model.pooling.patches", "true") if fusion != "mean" else ()
    run = probe(study, tmp_path, "adni_cls", "--data.target", "grade", *options, *patches)
    table = read_predictions(run / "predictions.csv")  # refuses probabilities that are not finite
    tested = table[table["split"] == "test"]
    assert len(tested) == (24 if missing == "mask" else 18)  # five have no FLAIR, one a damaged T1w
    assert tested["prob_II"].std() > 0
    dropped = pd.read_csv(run / "dropped.csv", keep_default_na=False)
    cases = dropped[dropped["case"] != ""]
    assert len(cases) == (0 if missing == "mask" else 6)
    assert set(cases["reason"]) <= {"no FLAIR (probe.missing: drop)", "no T1w (probe.missing: drop)"}
