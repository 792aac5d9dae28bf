"""Run `braindino doctor`: report, JSON, exit codes, and broken packages."""

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


def test_doctor_json_lists_every_outcome_once(capsys: pytest.CaptureFixture[str]) -> None:
    code, result = report(capsys)
    assert code == (0 if result["ok"] else 1)
    names = [outcome["name"] for outcome in result["outcomes"]]
    assert len(set(names)) == len(names)
    assert {"Python", "torch", "GPU", "memory", "open files", "working folder", "dcm2niix", "SLURM"} <= set(
        names
    )
    assert all(outcome["remedy"] for outcome in result["outcomes"] if outcome["status"] != "PASS")
    assert not any("\n" in outcome["remedy"] for outcome in result["outcomes"])
    assert not list(Path().iterdir())


def test_doctor_returns_1_on_failure_and_continues(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> Any:
        raise OSError("no /proc")

    monkeypatch.setattr(machine, "processors", broken)
    code, result = report(capsys)
    assert code == 1
    assert not result["ok"]
    statuses = {outcome["name"]: outcome["status"] for outcome in result["outcomes"]}
    assert statuses["processors"] == "FAIL"
    assert statuses["SLURM"] == "PASS"


def test_doctor_prints_report(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.docx").touch()
    assert main(["doctor", "--store", "mine"]) == 1
    shown = capsys.readouterr().out
    assert "FAIL  store                   mine has content that is not a store" in shown
    assert "remedy: choose a new or empty folder for --store" in shown
    assert shown.splitlines()[-1].startswith("1 FAIL")
    assert max(len(line) for line in shown.splitlines() if line.startswith("  PASS  torch 2")) <= 110


def test_doctor_rejects_wrong_argument(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--stores", "x"]) == 2
    assert "--stores" in capsys.readouterr().err


def test_doctor_works_with_broken_packages(tmp_path: Path) -> None:
    """Importing any of them raises, as after an incomplete upgrade."""
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
    assert "`braindino doctor` shows" in other.stderr.splitlines()[-1]
