"""Run folders of `fit`: repeated jobs, refused ids, finished runs and folders in use."""

import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest

from braindino.analysis.schemas.environment import Environment
from braindino.cli.main import main
from braindino.files import read_json
from braindino.locks import locked
from braindino.training import run_folder
from braindino.training.run_folder import ID_VARIABLE, environment, write_environment
from tests.helpers.killing import run_apart

TINY = str(Path(__file__).parent.parent / "conf" / "tiny_fit.yaml")
JOB = {
    f"SLURM_{key}": value
    for key, value in {
        "JOB_ID": "77",
        "JOB_NAME": "train",
        "NTASKS": "1",
        "PROCID": "0",
        "LOCALID": "0",
        "NODEID": "0",
    }.items()
}


def words(cohort: Path, runs: Path, *more: str) -> list[str]:
    return [
        *("fit", "--config", "pretrain.yaml", "--config", TINY, f"--data.store={cohort / 'store'}"),
        *("--run.root", str(runs), *more),
    ]


def test_fit_again_in_a_job_is_another_run_and_both_continue_when_requeued(
    cohort: Path, tmp_path: Path
) -> None:
    def fit(*more: str, restarts: str = "0") -> str:
        log = tmp_path / "fit"
        given = {**JOB, "SLURM_RESTART_COUNT": restarts}
        assert run_apart(words(cohort, tmp_path / "runs", *more), log, environment=given) == 0
        return Path(f"{log}.log").read_text()

    other = ("--model.optimiser.lr", "0.0005")
    assert "run folder: " in fit()
    printed = fit(*other)
    assert "slurm-77 is another run of this job (model.optimiser.lr 0.0005 (was " in printed
    runs = tmp_path / "runs" / "pretrain"
    assert sorted(path.name for path in runs.iterdir()) == ["slurm-77", "slurm-77-2"]
    for folder in runs.iterdir():
        assert (folder / "checkpoints" / "step0000002.ckpt").is_file()
    (runs / "slurm-77-2" / "checkpoints" / "step0000002.ckpt").unlink()  # the job's limit came
    assert "nothing to train" in fit(restarts="1")
    assert "continuing from" in fit(*other, restarts="1")
    assert sorted(path.name for path in runs.iterdir()) == ["slurm-77", "slurm-77-2"]


def test_fit_of_a_finished_run_reports_what_is_done_or_refuses_other_settings(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = words(cohort, tmp_path, "--run.id", "a")
    assert main(fit) == 0
    metrics = tmp_path / "pretrain" / "a" / "metrics.csv"
    before = metrics.read_bytes()
    capsys.readouterr()
    assert main(fit) == 0
    assert "nothing to train: " in (printed := capsys.readouterr().out)
    assert "is finished (2 steps done, 2 requested)" in printed
    assert main([*fit, "--model.optimiser.lr", "0.0005"]) == 2
    refused = capsys.readouterr().err
    assert "trained with other settings: model.optimiser.lr 0.0005 (was " in refused
    assert "--run.id" in refused
    assert main([*fit, "--trainer.max_steps", "1"]) == 0
    assert "(2 steps done, 1 requested)" in capsys.readouterr().out
    assert metrics.read_bytes() == before
    assert main([*fit, "--trainer.max_steps", "3", "--model.monitor_every", "3"]) == 0
    printed = capsys.readouterr().out
    assert "(2 steps done, 3 requested)" in printed
    assert (
        "settings that differ from this run's before: trainer.max_steps 3 (was 2), model.monitor_every 3"
        in printed
    )


def test_fit_refuses_a_run_folder_in_use(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "pretrain" / "a"
    with locked(folder, "run folder"):
        assert main(words(cohort, tmp_path, "--run.id", "a")) == 2
        assert list(folder.iterdir()) == [folder / ".lock"]
    error = capsys.readouterr().err
    assert f"run folder {folder} is in use by process {os.getpid()} on " in error
    assert "or give this run another folder with --run.id" in error


@pytest.mark.parametrize("name", ["../../x", "/tmp/x", "a/b", "..", "~x"])
def test_fit_refuses_an_id_that_leads_elsewhere(
    name: str,
    cohort: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = tmp_path / "a" / "b" / "runs"
    for more, variables in (
        (["--run.id", name], {}),
        (["--run.name", name], {}),
        ([], {ID_VARIABLE: name}),
        ([], {"TORCHELASTIC_RUN_ID": f"/{name}"}),
        ([], {**JOB, "SLURM_JOB_ID": f"/{name}"}),
    ):
        with monkeypatch.context() as patch:
            for key, value in variables.items():
                patch.setenv(key, value)
            assert main(words(cohort, runs, *more)) == 2
        assert "expected the name of one folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_fit_twice_in_one_process_makes_two_runs(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(ID_VARIABLE, raising=False)
    for _ in range(2):
        assert main(words(cohort, tmp_path, "--trainer.max_steps", "1")) == 0
        assert ID_VARIABLE not in os.environ
    folders = list((tmp_path / "pretrain").iterdir())
    assert len(folders) == 2
    assert all((folder / "checkpoints" / "step0000001.ckpt").is_file() for folder in folders)


@pytest.mark.parametrize("error", [FileNotFoundError(2, "git"), subprocess.TimeoutExpired("git", 30)])
def test_environment_without_git_has_no_commit(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(subprocess, "run", fail)
    assert environment()["commit"] is None


def test_environment_has_null_for_a_package_that_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_monai(package: str) -> str:
        if package == "monai":
            raise PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(run_folder, "version", without_monai)
    for _ in range(2):  # the second start reads what the first wrote
        write_environment(tmp_path)
    starts = read_json(tmp_path / "environment.json", Environment)["starts"]
    assert len(starts) == 2
    assert starts[1]["versions"]["monai"] is None
    assert starts[1]["versions"]["torch"] == version("torch")
