"""Check folders that are not writable, full, files, or of other content; and offline runs."""

import errno
import os
import shutil
import tempfile
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from braindino.cli.doctor import folders

usage = namedtuple("usage", "total used free")


def status(name: str, path: Path) -> tuple[str, str]:
    (outcome,) = folders.store(path) if name == "store" else folders.folder(name, path)
    return outcome.status, outcome.detail


def test_folder_does_not_create_missing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, 839 * 10**9))
    outcome = status("store", tmp_path / "a" / "b")
    assert outcome[0] == "PASS"
    assert "room for 100016 scans" in outcome[1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("free", "expected"), [(1e8, "FAIL"), (5e9, "WARN"), (1e11, "PASS")])
def test_folder_reports_space(
    free: float, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1e12, 0, free))
    assert status("runs", tmp_path)[0] == expected


def test_folder_reports_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1e12, 0, 1e11))
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=1000, f_favail=12))
    outcome = status("runs", tmp_path)
    assert outcome[0] == "WARN"
    assert "12 files may be made" in outcome[1]


def test_folder_fails_if_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert status("runs", tmp_path)[0] == "FAIL"
    assert "Read-only file system" in status("runs", tmp_path)[1]


def test_store_fails_for_file_and_other_content(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    assert status("runs", tmp_path / "thesis.docx")[0] == "FAIL"
    assert "no contract.json" in status("store", tmp_path)[1]
    (tmp_path / "contract.json").touch()
    assert "contract.json" not in status("store", tmp_path)[1]


def test_wandb_counts_offline_runs(tmp_path: Path) -> None:
    for run, synced in (("a", False), ("b", True)):
        folder = tmp_path / "pretrain" / run / "wandb" / "offline-run-1-x"
        folder.mkdir(parents=True)
        if synced:
            (folder / "run-x.wandb.synced").touch()
    (outcome,) = folders.wandb(tmp_path, {})
    assert outcome.detail.startswith("1 runs logged offline")
    assert "pretrain/a" in outcome.detail
    assert [o.status for o in folders.wandb(tmp_path, {"WANDB_MODE": "offline"})] == ["WARN", "PASS"]
