"""Check limits of the machine, a container and a job, and external programs."""

import os
import resource
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from braindino.cli.doctor import machine
from braindino.cli.doctor.checks import Outcome

GiB = 2**30


def only(outcomes: Iterator[Outcome]) -> Outcome:
    (outcome,) = outcomes
    return outcome


def program(folder: Path, name: str, script: str = "") -> None:
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


def test_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))
    assert only(machine.processors({})) == Outcome("processors", "PASS", "4 of 8 may be used")
    assert "OMP_NUM_THREADS=4" in only(machine.processors({"OMP_NUM_THREADS": "16"})).remedy
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert only(machine.processors({})).status == "WARN"


def test_memory_respects_limit_of_container(tmp_path: Path) -> None:
    meminfo, limit = tmp_path / "meminfo", tmp_path / "memory.max"
    meminfo.write_text(f"MemTotal:  {64 * 2**20} kB\nMemAvailable: {32 * 2**20} kB\n")
    assert only(machine.memory(meminfo, (limit,))).status == "PASS"
    limit.write_text("max\n")
    assert only(machine.memory(meminfo, (limit,))).status == "PASS"
    limit.write_text(f"{4 * GiB}\n")
    outcome = only(machine.memory(meminfo, (limit,)))
    assert outcome.status == "WARN"
    assert "4.3 GB for this container" in outcome.detail


def test_shared_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(64e6, 0, 64e6))
    outcome = only(machine.shared_memory(tmp_path))
    assert outcome.status == "WARN"
    assert "--shm-size" in outcome.remedy
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(8e9, 0, 8e9))
    assert only(machine.shared_memory(tmp_path)).status == "PASS"
    assert "num_workers" in only(machine.shared_memory(tmp_path / "none")).remedy


@pytest.mark.parametrize(
    ("soft", "status"), [(256, "WARN"), (4096, "PASS"), (resource.RLIM_INFINITY, "PASS")]
)
def test_open_files(soft: int, status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, 8192))
    assert only(machine.open_files()).status == status


def test_dicom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braindino.scans.dicom.series.find_spec", lambda _: None)
    monkeypatch.setenv("PATH", "")
    assert only(machine.dicom()).status == "WARN"
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    program(tmp_path, "dcm2niix", "echo Chris Rorden\\'s dcm2niiX version v1.0.20250506; exit 3")
    assert only(machine.dicom()).detail == f"v1.0.20250506, {tmp_path / 'dcm2niix'}"
    (tmp_path / "dcm2niix").write_bytes(b"\x7fELF not a program")
    assert only(machine.dicom()).status == "FAIL"


def test_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert only(machine.slurm({})).status == "PASS"
    program(tmp_path, "sbatch")
    monkeypatch.setattr(machine, "find_spec", lambda _: None)
    assert "braindino[cluster]" in only(machine.slurm({})).remedy
    monkeypatch.setattr(machine, "find_spec", lambda _: object())
    assert only(machine.slurm({})) == Outcome("SLURM", "PASS", "sbatch and submitit exist")
    inside = only(machine.slurm({"SLURM_JOB_ID": "4711", "SLURM_NTASKS": "8"}))
    assert inside.detail == "in job 4711, tasks: 8"
