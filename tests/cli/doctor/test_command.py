"""`braindino doctor`: report, JSON, exit codes, and an answer where packages are broken."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from braindino.cli.doctor import machine, torch_build
from braindino.cli.main import main

FINE: dict[str, Any] = {"torch": "2.15.0", "cuda": None, "gpus": []}


@pytest.fixture(autouse=True)
def _torch_as_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch_build, "torch_facts", lambda: FINE)
    monkeypatch.setattr("braindino.cli.doctor.torch_build.metadata.requires", lambda name: [])
    monkeypatch.chdir(tmp_path)


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["doctor", "--json", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_json_names_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = report(capsys)
    assert code == (0 if found["ok"] else 1)
    names = [outcome["name"] for outcome in found["outcomes"]]
    assert len(set(names)) == len(names)
    assert {"Python", "torch", "GPU", "memory", "open files", "working folder", "dcm2niix", "SLURM"} <= set(
        names
    )
    assert all(outcome["remedy"] for outcome in found["outcomes"] if outcome["status"] != "PASS")
    assert not any("\n" in outcome["remedy"] for outcome in found["outcomes"])
    assert not list(Path().iterdir())


def test_a_failure_is_exit_code_1_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Any:
        raise OSError("no /proc")

    monkeypatch.setattr(machine, "processors", broken)
    code, found = report(capsys)
    assert code == 1
    assert not found["ok"]
    statuses = {outcome["name"]: outcome["status"] for outcome in found["outcomes"]}
    assert statuses["processors"] == "FAIL"
    assert statuses["SLURM"] == "PASS"


def test_text(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.docx").touch()
    assert main(["doctor", "--store", "mine"]) == 1
    shown = capsys.readouterr().out
    assert "FAIL  store                   mine holds something that is no store" in shown
    assert "remedy: choose a new or empty folder for --store" in shown
    assert shown.splitlines()[-1].startswith("1 FAIL")
    assert max(len(line) for line in shown.splitlines() if line.startswith("  PASS  torch 2")) <= 110


def test_wrong_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--stores", "x"]) == 2
    assert "--stores" in capsys.readouterr().err


def test_it_answers_where_packages_are_broken(tmp_path: Path) -> None:
    """As after a half-finished upgrade: importing any of them raises."""
    for name in ("torch", "jsonargparse", "docstring_parser", "numpy", "pandas", "tqdm", "yaml", "packaging"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('half installed')")
    done = subprocess.run(
        [sys.executable, "-m", "braindino", "doctor"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == ""
    assert "FAIL  torch starts            ImportError: half installed" in done.stdout
    assert "FAIL  packages                could not be checked (ImportError: half installed)" in done.stdout
    assert "PASS  open files" in done.stdout
    other = subprocess.run(
        [sys.executable, "-m", "braindino", "prepare", "x.csv"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "`braindino doctor` tells" in other.stderr.splitlines()[-1]
