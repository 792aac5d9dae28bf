"""state.json of a run: how it ended, also when the process was killed."""

import json
import os
import platform
import time
from pathlib import Path

import pytest

from braindino.errors import BraindinoError
from braindino.files import read_json, write_json
from braindino.locks import LOCK, TOUCH_TIMEOUT
from braindino.training.state import read_state, record_failure, record_state


def test_record_state_writes_how_the_block_ends(tmp_path: Path) -> None:
    assert read_state(tmp_path)["state"] == "not started"
    with record_state(tmp_path):
        assert read_state(tmp_path)["state"] == "running"
    assert read_state(tmp_path)["state"] == "done"
    for error, state, reason in (
        (BraindinoError("no such folder"), "failed", "no such folder"),
        (ZeroDivisionError("by 0"), "failed", "ZeroDivisionError: by 0"),
        (KeyboardInterrupt(), "interrupted", None),
        (SystemExit(1), "interrupted", None),
    ):
        with pytest.raises(type(error)), record_state(tmp_path):
            raise error
        assert read_state(tmp_path)["state"] == state
        assert read_state(tmp_path).get("reason") == reason
    record_failure(tmp_path, "out of memory")
    assert read_state(tmp_path)["reason"] == "out of memory"


def test_read_state_of_a_process_that_is_gone_is_interrupted(tmp_path: Path) -> None:
    with record_state(tmp_path):
        known = read_json(tmp_path / "state.json")
        lock = read_json(tmp_path / LOCK)
    write_json(tmp_path / "state.json", {**known, "state": "running", "pid": 2**22 + 1})
    assert read_state(tmp_path)["state"] == "interrupted"
    (tmp_path / LOCK).write_text(json.dumps({**lock, "machine": "elsewhere"}))
    assert read_state(tmp_path)["state"] == "running"
    silent = time.time() - 1.1 * TOUCH_TIMEOUT
    os.utime(tmp_path / LOCK, (silent, silent))
    assert read_state(tmp_path)["state"] == "interrupted"


def test_read_state_of_a_run_of_an_earlier_version_without_a_lock(tmp_path: Path) -> None:
    known = {"state": "running", "host": platform.node(), "pid": 2**22 + 1}
    write_json(tmp_path / "state.json", known)
    assert read_state(tmp_path)["state"] == "interrupted"
    # a container's processes all have its first number, and this one is none of them
    write_json(tmp_path / "state.json", {**known, "pid": os.getpid()})
    assert read_state(tmp_path)["state"] == "interrupted"
    write_json(tmp_path / "state.json", {**known, "host": "elsewhere"})
    assert read_state(tmp_path)["state"] == "running"
    silent = time.time() - 1.1 * TOUCH_TIMEOUT
    os.utime(tmp_path / "state.json", (silent, silent))
    assert read_state(tmp_path)["state"] == "interrupted"


@pytest.mark.parametrize("content", ["[]", "3", "{}", '{"state": 3}', "{"])
def test_read_state_refuses_a_damaged_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(BraindinoError, match=r"state\.json"):
        read_state(tmp_path)


def test_record_state_locks_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("braindino.locks.TOUCH_INTERVAL", 0.01)
    with record_state(tmp_path):
        os.utime(tmp_path / LOCK, (1, 1))
        for _ in range(500):
            if (tmp_path / LOCK).stat().st_mtime > 1:
                break
            time.sleep(0.01)
        else:
            pytest.fail("nothing touched the file")
