"""Test `braindino bench` and `status`: one table of several probes, continued, with isolated failures."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml

from braindino.cli.bench import work
from braindino.cli.main import main
from braindino.training.state import read_state, record_state
from braindino.verbs.bench import Study
from tests.helpers.tiny_vit import SCRATCH


def write_plan(folder: Path, cohort: Path, **changes: Any) -> str:
    task = {
        "config": "adni_cls",
        "data": {"root": str(cohort / "ADNI"), "store": str(cohort / "store")},
        "probe": {"max_epochs": 2, "resamples": 20, "baselines": False},
    }
    content = {
        "out": str(folder / "bench"),
        "encoders": {"first": SCRATCH, "second": SCRATCH},
        "tasks": [
            task,
            {**task, "name": "linear", "model.head": {"class_path": "braindino.probing.LogisticHead"}},
        ],
        "seeds": [0, 1],
        **changes,
    }
    (folder / "bench.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return str(folder / "bench.yaml")


def test_run_study_leaves_the_state_of_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "main", lambda _: 2)
    study = Study("age", "enc", tmp_path / "age", ())
    with record_state(study.folder):
        assert work.run_bench_study(study, apart=False) == "exit code 2"
        assert read_state(study.folder)["state"] == "running"
    assert work.run_bench_study(study, apart=False) == "exit code 2"
    assert read_state(study.folder)["state"] == "failed"


def test_bench_trains_a_plan_and_writes_a_table(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, out = write_plan(tmp_path, cohort), tmp_path / "bench"
    assert main(["bench", plan, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "8 cells, 0 done, 8 left" in shown
    assert "none is known to be extracted" in shown
    assert "time: not known before two cells of the bench are done" in shown
    assert not out.exists()

    assert main(["bench", plan, "--resamples", "20"]) == 0
    shown = capsys.readouterr().out
    assert "[4/4] linear, second: done" in shown
    assert "first less it" in shown
    table = pd.read_csv(out / "table.csv")
    assert table[["task", "encoder"]].to_numpy().tolist() == [
        *(["adni_cls", "first"], ["adni_cls", "second"], ["linear", "first"], ["linear", "second"])
    ]
    # One encoder under two names: the same numbers, and no difference.
    assert table["value"][0] == table["value"][1]
    assert table["difference"].tolist()[1::2] == [0, 0]
    assert table["difference"][::2].isna().all()
    assert {"auroc"} <= set(pd.read_csv(out / "compare.csv")["metric"])
    assert main(["status", str(out)]) == 0
    assert "8 of 8 done; 4 done" in capsys.readouterr().out

    # Again: nothing is run, the table exists; one seed more: only its cells.
    ran: list[str] = []
    run_bench_study = work.run_bench_study

    def record(study: Study, apart: bool) -> Any:
        ran.append(study.name)
        return run_bench_study(study, apart)

    monkeypatch.setattr(work, "run_bench_study", record)
    assert main(["bench", plan, "--resamples", "20"]) == 0
    assert ran == []
    write_plan(tmp_path, cohort, seeds=[0, 1, 2], encoders={"first": SCRATCH}, tasks=_only(plan))
    assert main(["bench", plan, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "3 cells, 2 done, 1 left" in shown
    assert "scans in the cache; " in shown
    assert "s per cell (median of 1 times between finished cells" in shown
    assert main(["bench", plan, "--resamples", "20"]) == 0
    assert ran == ["adni_cls, first"]
    assert pd.read_csv(out / "table.csv")["seeds"].tolist() == [3]


def test_bench_adds_a_baseline_to_finished_studies(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {"encoders": {"first": SCRATCH}, "seeds": [0]}
    plan = write_plan(tmp_path, cohort, **options)
    tasks = yaml.safe_load(Path(plan).read_text())["tasks"][1:]
    tasks[0]["probe"]["baselines"] = True
    write_plan(tmp_path, cohort, tasks=tasks, **options)
    assert main(["bench", plan, "--resamples", "20"]) == 0
    folder = tmp_path / "bench" / "linear" / "first" / "bench"
    # As if an earlier call had not requested it.
    shutil.rmtree(folder / "baselines" / "age_sex_site")
    finished = (folder / "cells" / "seed0_fraction1.0" / "cell.json").stat().st_mtime_ns
    tasks[0]["probe"]["baselines"] = ["age_sex_site"]
    write_plan(tmp_path, cohort, tasks=tasks, **options)
    capsys.readouterr()
    assert main(["status", str(tmp_path / "bench")]) == 0
    assert "1 of 1 done" in capsys.readouterr().out
    assert main(["bench", plan, "--resamples", "20"]) == 0
    assert "[1/1] linear, first: done" in capsys.readouterr().out
    assert (folder / "baselines" / "age_sex_site" / "cells" / "seed0_fraction1.0" / "cell.json").is_file()
    assert (folder / "cells" / "seed0_fraction1.0" / "cell.json").stat().st_mtime_ns == finished
    assert main(["status", str(tmp_path / "bench")]) == 0
    assert "2 of 2 done" in capsys.readouterr().out


def _only(plan: str) -> list[Any]:
    return list(yaml.safe_load(Path(plan).read_text())["tasks"][:1])


def test_bench_continues_after_a_failed_study(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = write_plan(tmp_path, cohort, encoders={"broken": "nowhere", "fine": SCRATCH, "dying": SCRATCH})
    content = yaml.safe_load(Path(plan).read_text())
    write_plan(tmp_path, cohort, encoders=content["encoders"], tasks=content["tasks"][1:], seeds=[0])

    def probe(arguments: list[str]) -> int:
        if "--run.encoder=dying" in arguments:
            raise ZeroDivisionError("a defect")
        return main(arguments)

    monkeypatch.setattr(work, "main", probe)
    assert main(["bench", plan, "--resamples", "20"]) == 1
    shown = capsys.readouterr().out
    assert "[1/3] linear, broken: FAILED: encoder 'nowhere' is not" in shown
    assert "[2/3] linear, fine: done" in shown
    assert "[3/3] linear, dying: FAILED: ZeroDivisionError: a defect" in shown
    assert "2 of 3 studies failed; the same command tries them again" in shown
    assert main(["status", str(tmp_path / "bench")]) == 1
    assert "1 of 3 done; 2 failed, 1 done" in capsys.readouterr().out
    assert "Traceback" in (tmp_path / "bench/linear/dying/bench/log.txt").read_text()
    assert main(["status", str(tmp_path / "bench" / "linear" / "fine")]) == 0


def test_bench_runs_processes_and_stops_at_an_interruption(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = write_plan(tmp_path, cohort)
    codes = {"first": 0, "second": -9}

    def start(command: list[str], stdout: Any, **_: Any) -> SimpleNamespace:
        assert command[1:4] == ["-m", "braindino", "probe"]
        encoder = next(word for word in command if word.startswith("--run.encoder=")).partition("=")[2]
        stdout.write("output\n")
        return SimpleNamespace(returncode=codes[encoder])

    monkeypatch.setattr("braindino.cli.bench.work.subprocess.run", start)
    assert main(["bench", plan, "--jobs", "2"]) == 1
    assert "FAILED: its process died of signal 9" in capsys.readouterr().out
    codes["first"] = 130
    assert main(["bench", plan, "--jobs", "2"]) == 130
    assert "the same command again continues" in capsys.readouterr().err


def test_bench_submits_a_job_array(
    cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, object] = {}

    class Executor:
        """A substitute for that of submitit, which records its arguments."""

        def __init__(self, folder: Path) -> None:
            asked["folder"] = folder

        def update_parameters(self, **parameters: object) -> None:
            if "partition" in parameters:
                raise NameError("Unknown argument 'partition'")
            asked.update(parameters)

        def map_array(self, function: Callable[..., object], studies: list[Any]) -> list[SimpleNamespace]:
            asked["studies"] = [study.name for study in studies]
            return [SimpleNamespace(job_id=f"7_{i}") for i in range(len(studies))]

    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=Executor))
    plan = write_plan(tmp_path, cohort)
    assert main(["bench", plan, "--submit", "--cluster.timeout_min", "9"]) == 0
    assert "submitted 4 studies: 7_0, 7_1, 7_2, 7_3" in capsys.readouterr().out
    assert (asked["timeout_min"], asked["name"]) == (9, "braindino-bench")
    assert asked["studies"] == ["adni_cls, first", "adni_cls, second", "linear, first", "linear, second"]
    assert main(["bench", plan, "--submit", "--cluster.partition", "cpu"]) == 2
    assert "--cluster: Unknown argument 'partition'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "submitit", None)
    assert main(["bench", plan, "--submit"]) == 2
    assert "braindino[cluster]" in capsys.readouterr().err


@pytest.mark.parametrize("how", [[], ["--submit"], ["--dry-run"]])
def test_bench_refuses_wrong_studies_before_any_runs(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: list[str]
) -> None:
    plan = write_plan(tmp_path, cohort)
    tasks = yaml.safe_load(Path(plan).read_text())["tasks"]
    tasks[1]["trainer.max_steps"] = 3
    plan = write_plan(tmp_path, cohort, tasks=tasks)
    assert main(["bench", plan, *how]) == 2
    assert "linear, first: trainer.max_steps: the protocol of a probe decides it" in capsys.readouterr().err
    assert not (tmp_path / "bench").exists()


def test_bench_submits_devices_that_this_machine_lacks(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bench is submitted from a login node, which has no GPU."""
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    plan = write_plan(tmp_path, cohort)
    tasks = yaml.safe_load(Path(plan).read_text())["tasks"]
    tasks[1] |= {"trainer.accelerator": "cuda", "trainer.devices": 2}
    plan = write_plan(tmp_path, cohort, tasks=tasks)
    handed: list[Study] = []

    def submit(studies: list[Study], *_: object) -> list[str]:
        handed.extend(studies)
        return ["1"]

    monkeypatch.setattr(work, "submit", submit)
    assert main(["bench", plan]) == 2
    assert "linear, first: trainer: " in capsys.readouterr().err
    assert main(["bench", plan, "--submit"]) == 0
    assert "--trainer.accelerator=cuda" in [a for study in handed for a in study.arguments]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["bench", "."], ".: is a folder, expected the YAML file of a bench"),
        (["bench", "nowhere.yaml", "--jobs", "0"], "--jobs 0: expected 1 or more"),
        (["status", "nowhere"], "nowhere: no such folder"),
        (["status", "."], "no bench and no run of `braindino probe` in it"),
    ],
)
def test_bench_and_status_report_wrong_input(
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
