"""A checkpoint has its name only when it is complete; old ones are removed, foreign files stay."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from braindino.errors import BraindinoError
from braindino.training.checkpoint_files import partial_of, publish, remove_partial
from braindino.training.checkpoint_io import AtomicCheckpointIO, explained
from braindino.training.checkpoint_names import FOLDER, checkpoint_name


def path_of(run: Path, step: int) -> Path:
    return run / FOLDER / checkpoint_name(step)


def write(path: Path, age: float = 0) -> None:
    AtomicCheckpointIO().save_checkpoint({"x": torch.zeros(3)}, path)
    os.utime(path, (1e9 - age, 1e9 - age))


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / FOLDER).iterdir())


def test_publish_replaces_a_damaged_file_and_keeps_two(tmp_path: Path) -> None:
    for step, age in ((2, 30), (4, 20)):
        write(path_of(tmp_path, step), age)
    damaged = path_of(tmp_path, 6)
    damaged.write_bytes(b"half")
    (tmp_path / FOLDER / "step0000004_backup.ckpt").write_bytes(b"of the user")
    write(partial_of(damaged))
    publish(damaged)
    assert names(tmp_path) == ["step0000004.ckpt", "step0000004_backup.ckpt", "step0000006.ckpt"]
    assert torch.load(damaged, weights_only=True)["x"].shape == (3,)


def test_publish_removes_damaged_ones_first(tmp_path: Path) -> None:
    write(path_of(tmp_path, 2), 30)
    path_of(tmp_path, 8).write_bytes(b"half")  # newer
    write(partial_of(path_of(tmp_path, 5)))
    publish(path_of(tmp_path, 5))
    assert names(tmp_path) == ["step0000002.ckpt", "step0000005.ckpt"]


def test_publish_of_a_sharded_checkpoint_replaces_the_folder(tmp_path: Path) -> None:
    path = path_of(tmp_path, 3)
    for folder, content in ((path, "old"), (partial_of(path), "new")):
        folder.mkdir(parents=True)
        (folder / "part").write_text(content)
    publish(path)
    assert (path / "part").read_text() == "new"
    assert names(tmp_path) == ["step0000003.ckpt"]


def test_remove_partial_of_files_and_folders(tmp_path: Path) -> None:
    write(path_of(tmp_path, 1))
    write(partial_of(path_of(tmp_path, 2)))
    partial_of(path_of(tmp_path, 3)).mkdir()
    (partial_of(path_of(tmp_path, 3)) / "part").touch()
    remove_partial(tmp_path)
    assert names(tmp_path) == ["step0000001.ckpt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_atomic_checkpoint_io_leaves_nothing_when_a_write_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """torch turns the error of a disk into one about its zip file."""

    def fail(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("braindino.training.checkpoint_io._Sink._write", fail)
    with pytest.raises(BraindinoError) as caught:
        AtomicCheckpointIO().save_checkpoint({"x": torch.zeros(10_000)}, path_of(tmp_path, 2))
    assert f"step0000002.ckpt: the checkpoint cannot be written ({os.strerror(number)})" in str(caught.value)
    assert f"MB are free on the disk of {tmp_path / FOLDER}" in str(caught.value)
    assert names(tmp_path) == []


def test_explained_names_the_final_file_where_its_folder_does_not_exist(tmp_path: Path) -> None:
    with (
        pytest.raises(BraindinoError, match=rf"step0000002.ckpt: .*on the disk of {tmp_path}"),
        explained(partial_of(path_of(tmp_path, 2))),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")
