"""Test `braindino probe`: its files, its continuation, and its errors."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from braindino.cli.main import main
from braindino.cli.probe import identity_of
from braindino.files import read_json
from braindino.locks import locked
from tests.helpers.tiny_vit import NAME, SCRATCH


def probe(cohort: Path, runs: Path, *more: str) -> int:
    return main(
        [
            *("probe", "--config", "adni_cls.yaml", "--data.root", str(cohort / "ADNI")),
            *("--data.store", str(cohort / "store"), "--model.encoder", SCRATCH, "--run.root", str(runs)),
            *("--probe.seeds", "[0]", "--probe.max_epochs", "2", "--probe.resamples", "20"),
            *("--probe.baselines", "false", *more),
        ]
    )


def test_probe_writes_and_continues_its_run_folder(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(cohort, tmp_path) == 0
    shown = capsys.readouterr().out
    assert "test/auroc" in shown
    # The id follows from the config: the same probe finds itself, more seeds join it.
    (run,) = tmp_path.glob(f"adni_cls/scratch-{NAME}/*")
    assert f"run folder: {run}" in shown
    assert yaml.safe_load((run / "config.yaml").read_text())["probe"]["max_epochs"] == 2
    predictions = pd.read_csv(run / "predictions.csv")
    assert {"case", "group", "target", "prediction", "prob_CN", "prob_MCI", "prob_AD"} <= set(predictions)
    first = (run / "cells" / "seed0_fraction1.0" / "cell.json").stat().st_mtime_ns
    assert probe(cohort, tmp_path, "--probe.seeds", "[0,1]", "--run.wandb", "offline") == 0
    assert [run] == list(tmp_path.glob("adni_cls/*/*"))
    assert (run / "cells" / "seed0_fraction1.0" / "cell.json").stat().st_mtime_ns == first
    assert read_json(run / "results.json")["summary"][0]["seeds"] == [0, 1]
    assert len(read_json(run / "environment.json")["starts"]) == 2
    assert list(run.glob("wandb/offline-run-*/*.wandb"))


def config(**protocol: Any) -> dict[str, Any]:
    """Return the parts of a resolved config that `identity_of` looks at."""
    return {
        "run": {"id": None},
        "seed_everything": 0,
        "trainer": {},
        "model": {"encoder": "e", "standardise": None},
        "data": {"class_path": "C", "init_args": {"root": "r", "prepare": False, "sheet": None}},
        "probe": {
            **{"seeds": [0], "fractions": [1.0], "recipe": "default", "max_epochs": None, "patience": None},
            **{"cache": True, "cache_gb": 20.0, "resamples": 1000, **protocol},
        },
    }


def test_identity_of_equals_that_of_earlier_versions() -> None:
    # what an earlier version took the id of, whose defaults were numbers
    assert identity_of(config()) == {
        "model": {"encoder": "e", "standardise": True},
        "data": {"class_path": "C", "init_args": {"root": "r"}},
        "probe": {"max_epochs": 100, "patience": 10, "resamples": 1000},
    }
    assert identity_of(config(max_epochs=100, seeds=[3], cache_gb=0.5)) == identity_of(config())


def test_identity_of_does_not_depend_on_names_of_baselines() -> None:
    automatic = identity_of(config(baselines=True))
    assert automatic["probe"]["baselines"] is True
    for names in ("unet", ["unet", "no_tokens"]):
        assert identity_of(config(baselines=names)) == automatic
    assert identity_of(config(baselines=False)) != automatic


def test_identity_of_ignores_options_that_earlier_versions_did_not_have() -> None:
    amounts = {"flip": 0.5, "shift": 0.2, "scale": 0.1, "offset": 0.1}
    before, now = config(), config()
    before["model"] |= {"augment": amounts}
    now["model"] |= {"augment": {**amounts, "rotation": 0.0, "zoom": 0.0, "gamma": 0, "noise": 0.0}, "ema": 0}
    assert identity_of(now) == identity_of(before)
    now["model"]["augment"]["zoom"] = 0.1
    assert identity_of(now) != identity_of(before)
    now["model"] |= {"augment": amounts, "ema": 0.99}
    assert identity_of(now) != identity_of(before)


def test_identity_of_differs_where_results_do() -> None:
    plain = identity_of(config())
    for other in ({"recipe": "paper"}, {"patience": 3}, {"cache": False}):
        assert identity_of(config(**other)) != plain
    changed = config()
    changed["model"]["standardise"] = False
    assert identity_of(changed) != plain
    changed = config()
    changed["data"]["init_args"] |= {"prepare": True, "strip_cmd": "x {in} {out}"}
    assert identity_of(changed) == plain
    changed["data"]["init_args"]["sheet"] = "second"
    assert identity_of(changed) != plain


def test_probe_leaves_the_config_of_a_running_study_alone(cohort: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adni_cls" / f"scratch-{NAME}" / "mine"
    with locked(folder, "run folder"):
        assert probe(cohort, tmp_path, "--run.id", "mine") == 2
        assert not (folder / "config.yaml").exists()


def test_probe_makes_a_store_only_when_asked(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    misspelt = tmp_path / "stroe"
    assert probe(cohort, tmp_path / "runs", "--data.store", str(misspelt)) == 2
    message = capsys.readouterr().err
    assert f"{misspelt}: no store there" in message
    assert "`--data.prepare true` makes it" in message
    assert list(tmp_path.iterdir()) == []
    assert probe(cohort, tmp_path / "runs", "--data.rooot", "x") == 2
    assert "no key 'data.rooot'. Did you mean 'data.root'?" in capsys.readouterr().err


def test_probe_leaves_the_config_of_another_study_alone(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(cohort, tmp_path, "--run.id", "mine") == 0
    (config,) = tmp_path.glob("adni_cls/*/mine/config.yaml")
    before = config.read_text()
    assert probe(cohort, tmp_path, "--run.id", "mine", "--model.lr", "0.5") == 2
    assert "another study" in capsys.readouterr().err
    assert config.read_text() == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--probe.seed", "[1]"], "Did you mean 'probe.seeds'?"),
        (["--probe.fractions", "[2]"], "probe.fractions"),
        (["--model.encoder", "nowhere"], "braindino export"),
        (["--data.root", "nowhere"], "nowhere: no such folder"),
        (["--trainer.max_epochs", "3"], "Set probe.max_epochs"),
        (["--trainer.limit_train_batches", "1"], "the protocol of a probe decides it"),
        (["--trainer.accelerator", "gpuu"], "gpuu"),
        (["--data.batch_size", "8"], "You may want model.batch_size"),
        (["--data.num_workers", "2"], "data.num_workers: a probe does not use it"),
        (["--data", "Cohorte"], "data: no class 'Cohorte'. Did you mean Cohort?"),
        (
            ["--model.pooling", "GatedAttention"],
            "model.pooling: no class 'GatedAttention'. Did you mean Gated",
        ),
        (["--run.id", "a/b"], "the name of one folder"),
        (["--run.checkpoint_every", "3"], "no key 'run.checkpoint_every'"),
        (["--model.head.class_path", "braindino.probing.Classification"], "ClassificationHead"),
    ],
)
def test_probe_reports_wrong_input_in_three_lines(
    cohort: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert probe(cohort, tmp_path, *more) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.strip().splitlines()) <= 3


def test_probe_interrupted_while_training(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("braindino.probing.module.FrozenProbeModule.training_step", interrupt)
        assert probe(cohort, tmp_path) == 130
    assert "the same command again continues" in capsys.readouterr().err
    (state,) = tmp_path.glob("adni_cls/*/*/state.json")
    assert read_json(state)["state"] == "interrupted"
    assert probe(cohort, tmp_path) == 0
    assert read_json(state)["state"] == "done"
