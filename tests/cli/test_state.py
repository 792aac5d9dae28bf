"""A run tells what became of it, also when it could not say goodbye."""

from pathlib import Path

import pytest

from braindino.cli.state import read_state, record_failure, recorded
from braindino.errors import BraindinoError
from braindino.files import read_json, write_json


def test_a_run_tells_its_end(tmp_path: Path) -> None:
    assert read_state(tmp_path)["state"] == "not started"
    with recorded(tmp_path):
        assert read_state(tmp_path)["state"] == "running"
    assert read_state(tmp_path)["state"] == "done"
    for error, state, reason in (
        (BraindinoError("no such folder"), "failed", "no such folder"),
        (ZeroDivisionError("by 0"), "failed", "ZeroDivisionError: by 0"),
        (KeyboardInterrupt(), "interrupted", None),
        (SystemExit(1), "interrupted", None),
    ):
        with pytest.raises(type(error)), recorded(tmp_path):
            raise error
        assert read_state(tmp_path)["state"] == state
        assert read_state(tmp_path).get("reason") == reason
    record_failure(tmp_path, "out of memory")
    assert read_state(tmp_path)["reason"] == "out of memory"


def test_a_process_that_is_gone_was_interrupted(tmp_path: Path) -> None:
    with recorded(tmp_path):
        known = read_json(tmp_path / "state.json")
    write_json(tmp_path / "state.json", {**known, "state": "running", "pid": 2**22 + 1})
    assert read_state(tmp_path)["state"] == "interrupted"
    write_json(tmp_path / "state.json", {**known, "state": "running", "pid": 2**22 + 1, "host": "elsewhere"})
    assert read_state(tmp_path)["state"] == "running"
