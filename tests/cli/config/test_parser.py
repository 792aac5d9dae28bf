"""Run fit, validate, test and export from the command line: results, continuation and errors."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from braindino.cli.config import parser as room
from braindino.cli.config.files import shipped_configs
from braindino.cli.main import main
from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.weight_files import read_file
from braindino.files import read_json
from braindino.training.signals import GracefulExit

TINY = str(Path(__file__).parent.parent.parent / "conf" / "tiny_fit.yaml")


def fit(cohort: Path, runs: Path, *more: str, verb: str = "fit", config: str = "pretrain.yaml") -> int:
    return main(
        [
            *(verb, "--config", config, "--config", TINY, f"--data.store={cohort / 'store'}"),
            *("--run.root", str(runs), "--run.id", "a", *more),
        ]
    )


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    assert fit(cohort, runs) == 0
    return runs


def test_fit_writes_complete_run_folder(finished: Path, cohort: Path) -> None:
    run = finished / "pretrain" / "a"
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["model"]["init_args"]["views"]["global_size"] == 16  # from the second file
    assert config["model"]["init_args"]["optimiser"]["clip"] == 3.0  # a default, resolved
    assert config["data"]["init_args"]["store"] == str(cohort / "store")  # from the command line
    assert [row["step"] for row in metrics(run) if row["train/loss"]] == ["0", "1"]
    environment = read_json(run / "environment.json")["starts"][-1]
    assert environment["versions"].keys() >= {"torch", "lightning", "timm"}
    assert environment["command"][:4] == ["braindino", "fit", "--config", "pretrain.yaml"]
    assert environment["command"][-2:] == ["--run.id", "a"]
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["step0000001.ckpt", "step0000002.ckpt"]
    content = read_file(run / "checkpoints" / "step0000002.ckpt")
    seen, everyone = set(content["pretraining_people"]), set(pd.read_csv(cohort / "adni.csv")["group"])
    assert seen < everyone  # 30 % of the people are kept for validation
    assert len(seen) == round(0.7 * len(everyone))


def test_fit_continues_with_same_command(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert fit(cohort, tmp_path) == 0
    assert "step 2/2  loss " in capsys.readouterr().out  # a line, as no terminal is watching
    run = tmp_path / "pretrain" / "a"
    before = {row["step"]: row["train/loss"] for row in metrics(run) if row["train/loss"]}
    # The newest checkpoint was cut short by a kill: the one before it is used.
    cut = run / "checkpoints" / "step0000002.ckpt"
    cut.write_bytes(cut.read_bytes()[:1000])
    assert fit(cohort, tmp_path, "--trainer.max_steps", "4") == 0
    assert "passed over step0000002.ckpt (damaged or refused)" in caplog.text
    assert "continuing from" in capsys.readouterr().out
    losses = {row["step"]: row["train/loss"] for row in metrics(run) if row["train/loss"]}
    assert list(losses) == ["0", "1", "2", "3"]
    assert losses["1"] == before["1"]  # done twice, from the same state
    assert len(read_json(run / "environment.json")["starts"]) == 2


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_validate_and_test_evaluate_a_run(
    finished: Path, cohort: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(cohort, finished, verb=verb) == 0
    prefix = {"validate": "val", "test": "test"}[verb]
    assert f"{prefix}/loss" in capsys.readouterr().out


def test_export_of_a_fit_run(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "encoder"
    assert main(["export", str(finished / "pretrain" / "a"), "--out", str(out)]) == 0
    assert load_encoder(str(out)).preprocessing.size == (16, 16)
    assert f"--model.encoder {out}" in capsys.readouterr().out


def test_fit_logs_to_wandb_offline_with_one_option(cohort: Path, tmp_path: Path) -> None:
    assert fit(cohort, tmp_path, "--run.wandb", "offline") == 0
    assert list((tmp_path / "pretrain" / "a").glob("wandb/offline-run-*/*.wandb"))


def test_fit_prints_resolved_config(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fit(cohort, Path("unused"), "--print_config") == 0
    assert yaml.safe_load(capsys.readouterr().out)["trainer"]["max_steps"] == 2
    assert not Path("unused").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--trainer.max_step", "3"], "no key 'trainer.max_step'. Did you mean 'trainer.max_steps'?"),
        (["--model.archtecture", "x"], "Did you mean 'model.architecture'?"),
        (["--model.views.glob", "3"], "no key 'model.views.glob'"),
        (["--data.batch_size", "many"], "data.batch_size: expected int, got 'many'"),
        (["--data.store", "nowhere"], "nowhere"),
        (["--model.views.global_size", "17"], "nearest is 16"),
        (["--model.architecture", "vit_bse"], "not known to timm"),
        (["--config", "pretran.yaml"], "Did you mean pretrain.yaml"),
        (["--modle.x", "3"], "no key 'modle'. Did you mean 'model'?"),
        (
            ["--model.class_path", "braindino.pretraining.DINOModul"],
            "Did you mean braindino.pretraining.DINOModule?",
        ),
        (["--ckpt_path", "nowhere.ckpt"], "nowhere.ckpt: no such file"),
        (["--trainer.accelerator", "gpuu"], "gpuu"),
    ],
)
def test_fit_reports_wrong_input_in_one_error(
    cohort: Path, tmp_path: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(cohort, tmp_path, *more) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.strip().splitlines()) <= 3
    assert "Traceback" not in shown


def test_validate_without_run_reports_missing_weights(
    cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["validate", "--config", "pretrain.yaml", f"--data.store={cohort / 'store'}"]) == 2
    assert "--run.id" in capsys.readouterr().err


def test_fit_without_config_suggests_shipped_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit"]) == 2
    shown = capsys.readouterr().err
    assert "`braindino fit --config NAME` starts from a shipped config" in shown
    assert len(shown.strip().splitlines()) <= 3


def test_check_arguments_accepts_every_shipped_config() -> None:
    from braindino.cli.config.arguments import check_arguments
    from braindino.files import read_yaml

    for path in shipped_configs().values():
        verb = "fit" if "class_path" in read_yaml(path)["model"] else "probe"
        check_arguments(verb, ["--config", str(path)])


def slurm_job(folder: Path) -> dict[str, str]:
    command = folder / "scontrol"
    command.write_text(
        f'#!/bin/bash\nif [ $1 = show ]; then echo "JobState=RUNNING EndTime=0"; exit; fi\n'
        f'echo "$@" >> {folder}/called\n'
        "kill $PPID\n"  # as SLURM does: whatever is to be written has to be written before
    )
    command.chmod(0o755)
    variables = {
        "JOB_ID": "4711",
        "JOB_NAME": "braindino",
        "NTASKS": "1",
        "PROCID": "0",
        "LOCALID": "0",
        "NODEID": "0",
    }
    return {
        "PATH": f"{folder}:{os.environ['PATH']}",
        **{f"SLURM_{name}": value for name, value in variables.items()},
    }


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_fit_saves_last_step_on_signal(cohort: Path, tmp_path: Path, sent: signal.Signals, code: int) -> None:
    command = [
        *(sys.executable, "-m", "braindino", "fit", "--config", "pretrain.yaml", "--config", TINY),
        *(f"--data.store={cohort / 'store'}", "--run.root", str(tmp_path), "--run.id", "a"),
        *("--trainer.max_steps", "100000", "--run.checkpoint_every", "100000"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if sent == signal.SIGTERM:  # as a job of SLURM, with a stand-in for its command
        environment |= slurm_job(tmp_path)
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, env=environment, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 3/"):
            break
    process.send_signal(sent)
    printed = process.communicate(timeout=120)[1]
    assert process.returncode == code, printed
    assert "Traceback" not in printed
    if sent == signal.SIGINT:
        assert "--run.id a continues" in printed
    else:
        assert (tmp_path / "called").read_text() == "requeue 4711\n"
    (kept,) = (tmp_path / "pretrain" / "a" / "checkpoints").iterdir()
    step = read_file(kept)["global_step"]
    assert step >= 3
    steps = [int(row["step"]) for row in metrics(tmp_path / "pretrain" / "a") if row["train/loss"]]
    assert steps == list(range(step))
    assert fit(cohort, tmp_path, "--trainer.max_steps", str(step + 2)) == 0
    losses = [(row["step"], row["train/loss"]) for row in metrics(tmp_path / "pretrain" / "a")]
    assert fit(cohort, tmp_path / "whole", "--trainer.max_steps", str(step + 2)) == 0
    whole = [(row["step"], row["train/loss"]) for row in metrics(tmp_path / "whole" / "pretrain" / "a")]
    assert [pair for pair in losses if pair[1]] == [pair for pair in whole if pair[1]]


def test_fit_rejects_checkpoint_of_other_model_and_preserves_config(
    finished: Path, cohort: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = finished / "pretrain" / "a" / "config.yaml"
    before = config.read_text()
    assert fit(cohort, finished, "--model.model_args.embed_dim", "48", "--trainer.max_steps", "3") == 2
    shown = capsys.readouterr().err
    assert "another model than the config describes" in shown
    assert len(shown.strip().splitlines()) <= 3
    assert config.read_text() == before


def test_fit_requeues_job_although_loggers_fail(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end(*_: object, **__: object) -> None:
        raise GracefulExit(signal.SIGTERM, first=True)

    def fail() -> None:
        raise OSError("no network")

    put_back: list[signal.Signals] = []
    monkeypatch.setattr(room, "FitCLI", end)
    monkeypatch.setattr(room, "finish_wandb", fail)
    monkeypatch.setattr(room, "requeue", put_back.append)
    with pytest.raises(OSError, match="no network"):
        room.run("fit", ["--help"])
    assert put_back == [signal.SIGTERM]


@pytest.mark.parametrize(("first", "code"), [(True, 143), (False, 0)])
def test_fit_requeues_from_first_process_only(
    first: bool, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launcher that sees a failed process kills the first, which has to requeue the job before."""

    def end(*_: object, **__: object) -> None:
        raise GracefulExit(signal.SIGTERM, first)

    put_back: list[signal.Signals] = []
    monkeypatch.setattr(room, "FitCLI", end)
    monkeypatch.setattr(room, "requeue", put_back.append)
    assert room.run("fit", ["--help"]) == code
    assert put_back == [signal.SIGTERM] * first
