"""Folders: not writable, full, a file, somebody else's; runs logged offline."""

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
    return outcome.status, outcome.found


def test_a_folder_to_come_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 0, 839 * 10**9))
    told = status("store", tmp_path / "a" / "b")
    assert told[0] == "PASS"
    assert "room for 100016 scans" in told[1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("free", "expected"), [(1e8, "FAIL"), (5e9, "WARN"), (1e11, "PASS")])
def test_space(free: float, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1e12, 0, free))
    assert status("runs", tmp_path)[0] == expected


def test_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1e12, 0, 1e11))
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_files=1000, f_favail=12))
    found = status("runs", tmp_path)
    assert found[0] == "WARN"
    assert "12 files may be made" in found[1]


def test_not_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    assert status("runs", tmp_path)[0] == "FAIL"
    assert "Read-only file system" in status("runs", tmp_path)[1]


def test_a_file_and_a_foreign_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").touch()
    assert status("runs", tmp_path / "thesis.docx")[0] == "FAIL"
    assert "no contract.json" in status("store", tmp_path)[1]
    (tmp_path / "contract.json").touch()
    assert "contract.json" not in status("store", tmp_path)[1]


def test_runs_that_wait_for_their_upload(tmp_path: Path) -> None:
    for run, synced in (("a", False), ("b", True)):
        folder = tmp_path / "pretrain" / run / "wandb" / "offline-run-1-x"
        folder.mkdir(parents=True)
        if synced:
            (folder / "run-x.wandb.synced").touch()
    (outcome,) = folders.wandb(tmp_path, {})
    assert outcome.found.startswith("1 runs logged offline")
    assert "pretrain/a" in outcome.found
    assert [o.status for o in folders.wandb(tmp_path, {"WANDB_MODE": "offline"})] == ["WARN", "PASS"]
