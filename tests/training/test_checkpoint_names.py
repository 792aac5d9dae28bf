"""Checkpoints in a run folder, and the newest of them that can be read."""

from pathlib import Path

import pytest
import torch

from braindino.encoders.weight_files import last_checkpoint, newest_state, read_file
from braindino.errors import BraindinoError
from braindino.training.checkpoint_names import FOLDER, checkpoint_name, run_checkpoints


def save(run: Path, name: str, step: int) -> Path:
    path = run / FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"global_step": step, "state_dict": {}}, path)
    return path


def test_run_checkpoints_are_ordered_by_steps_with_other_names_apart(tmp_path: Path) -> None:
    for name in ("step0000009.ckpt", "step0000018.ckpt", "step0000018-v1.ckpt", "step12345678.ckpt"):
        save(tmp_path, name, 1)
    for name in (
        "step0000018_backup.ckpt",
        "step.ckpt",
        "last.ckpt",
        "step0000018 (copy).ckpt",
        "stepX.ckpt",
    ):
        save(tmp_path, name, 1)
    named, strange = run_checkpoints(tmp_path)
    assert [path.name for path in named] == [
        "step12345678.ckpt",
        "step0000018-v1.ckpt",
        "step0000018.ckpt",
        "step0000009.ckpt",
    ]
    assert len(strange) == 5
    assert checkpoint_name(18) == "step0000018.ckpt"


def test_newest_state_passes_over_damaged_ones_and_copies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = save(tmp_path, "step0000009.ckpt", 9)
    damaged = save(tmp_path, "step0000018.ckpt", 18)
    damaged.write_bytes(damaged.read_bytes()[:100])
    save(tmp_path, "step0000018_backup.ckpt", 18)
    assert newest_state(tmp_path) == (expected, 9)
    assert "passed over step0000018_backup.ckpt" in caplog.text
    assert "passed over step0000018.ckpt (damaged or refused), using step0000009.ckpt" in caplog.text
    good = save(tmp_path, "step0000018-v1.ckpt", 18)  # as earlier versions wrote it beside the damaged one
    assert newest_state(tmp_path) == (good, 18)


def test_last_checkpoint_names_a_renamed_file(tmp_path: Path) -> None:
    save(tmp_path, "mine.ckpt", 3)
    with pytest.raises(BraindinoError, match=r"saved nothing yet. It holds mine.ckpt: name that file itself"):
        last_checkpoint(tmp_path)


def test_newest_state_takes_a_sharded_checkpoint_that_is_whole(tmp_path: Path) -> None:
    for step in (4, 8):
        folder = tmp_path / FOLDER / checkpoint_name(step)
        folder.mkdir(parents=True)
        torch.save({"global_step": step}, folder / "meta.pt")
    (tmp_path / FOLDER / checkpoint_name(4) / ".metadata").touch()  # written last
    assert newest_state(tmp_path) == (tmp_path / FOLDER / checkpoint_name(4), 4)
    with pytest.raises(BraindinoError, match=r"a sharded run(.|\n)*consolidate_checkpoint"):
        read_file(tmp_path / FOLDER / checkpoint_name(4))
