"""Check names of folders, atomic writes and the removal of temporary files."""

import errno
import os
from pathlib import Path

import pytest

from braindino.errors import BraindinoError
from braindino.files import atomic_write, folder_name, portable_path, remove_leftovers, temporary_beside


@pytest.mark.parametrize("name", ["first", "slurm-77", "2026-01-02", "a b", "lr=0.1", "größe", "x.y"])
def test_folder_name_accepts_plain_names(name: str) -> None:
    assert folder_name(name, "run.id") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../../x",
        "a/b",
        "/tmp",
        "a\\b",
        ".hidden",
        "~root",
        "-x",
        " a",
        "a\n",
        "a\0b",
        "x" * 300,
    ],
)
def test_folder_name_rejects_paths(name: str) -> None:
    with pytest.raises(BraindinoError, match=r"run\.id .*expected the name of one folder"):
        folder_name(name, "run.id")


def test_remove_leftovers_of_dead_processes_only(tmp_path: Path) -> None:
    cells = tmp_path / "cells" / "a"
    cells.mkdir(parents=True)
    dead = temporary_beside(cells / "predictions.csv")
    dead.write_text("half")
    elsewhere = cells / ".x.csv.00000000-12-abcd.tmp"
    long_dead = cells / ".y.csv.12-abcd.tmp"
    for path in (elsewhere, long_dead):
        path.write_text("half")
    os.utime(dead, (dead.stat().st_mtime - 10,) * 2)
    os.utime(long_dead, (1, 1))
    with atomic_write(cells / "cell.json") as file:
        (living,) = cells.glob(".cell.json.*.tmp")
        os.utime(living, (1, 1))
        remove_leftovers(tmp_path)
        assert living.exists()
        file.write("{}")
    assert sorted(path.name for path in cells.iterdir()) == [elsewhere.name, "cell.json"]


def test_atomic_write_names_the_file_when_the_disk_is_full(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught, atomic_write(tmp_path / "a.csv"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_portable_path_omits_folders_of_the_machine() -> None:
    assert portable_path("/data/adni/a.nii", "/data/store") == "../adni/a.nii"
    assert portable_path("/home/ann/scans/a.nii", "/scratch/store") == "scans/a.nii"
    assert portable_path("scans/a.nii", Path.cwd() / "store") == "../scans/a.nii"
