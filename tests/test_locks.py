"""Lock folders: one process at a time, released by a kill, across machines by touches of the file."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from braindino import locks
from braindino.errors import BraindinoError
from braindino.locks import LOCK, is_locked, locked, machine

HOLD = """
import sys, time
from pathlib import Path
from braindino.locks import locked
with locked(Path(sys.argv[1]), "run folder"):
    print("locked", flush=True)
    time.sleep(60)
"""


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a process that locks `folder`."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        try:
            yield process
        finally:
            process.kill()


def record(**changes: Any) -> str:
    return json.dumps({**locks._this_process(), **changes})


def test_locked_rejects_second_process_until_the_first_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with another_process(folder) as process:
        assert is_locked(folder)
        refused = pytest.raises(BraindinoError, match=rf"by process {process.pid} on .*\n.*or call it b")
        with refused, locked(folder, "run folder", "call it b"):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not is_locked(folder)
    with locked(folder, "run folder"):  # at once, although the file still names the dead process
        assert is_locked(folder)


@pytest.mark.parametrize(("folder", "file"), [(0o775, 0o664), (0o755, 0o644), (0o700, 0o644)])
def test_locked_lets_a_group_lock_its_shared_folder(tmp_path: Path, folder: int, file: int) -> None:
    before = os.umask(0o022)  # the usual one, without write permission for the group
    try:
        tmp_path.chmod(folder)
        with locked(tmp_path, "run folder"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / LOCK).stat().st_mode & 0o777 == file


def test_locked_is_free_where_host_and_process_number_are_those_of_a_dead_process(tmp_path: Path) -> None:
    """In a container every run is process 1 of the same host."""
    (tmp_path / LOCK).write_text(record())
    assert not is_locked(tmp_path)
    with locked(tmp_path, "run folder"):
        pass


def test_locked_is_not_inherited_by_forked_workers(tmp_path: Path) -> None:
    """A worker that outlives a killed run must not keep its lock."""
    ready, begun = os.pipe()
    with locked(tmp_path, "run folder"):
        child = os.fork()
        if child == 0:
            os.write(begun, b".")
            time.sleep(30)
            os._exit(0)
        assert os.read(ready, 1) == b"."  # on a busy machine the child starts late
        path = tmp_path / LOCK
    try:
        descriptor = os.open(path, os.O_RDWR)
        assert locks.lock_file(descriptor) is True
        os.close(descriptor)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(ready)
        os.close(begun)


def test_locked_removes_new_folder_that_stays_empty(tmp_path: Path) -> None:
    with locked(tmp_path / "empty", "run folder"):
        pass
    assert not (tmp_path / "empty").exists()
    with locked(tmp_path / "full", "run folder"):
        (tmp_path / "full" / "x").touch()
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == [LOCK, "x"]


def test_locked_waits_until_another_machine_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(locks, "TOUCH_TIMEOUT", 0.3)
    (tmp_path / LOCK).write_text(record(machine="another", host="node7"))
    assert is_locked(tmp_path)
    with locked(tmp_path, "run folder"):
        pass
    assert "was in use on node7" in capsys.readouterr().err
    (tmp_path / LOCK).write_text(record(machine="another", host="node7"))
    os.utime(tmp_path / LOCK, (1, 1))
    assert not is_locked(tmp_path)
    with locked(tmp_path, "run folder"):
        pass
    assert capsys.readouterr().err == ""


def test_locked_rejects_while_another_machine_touches_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "TOUCH_TIMEOUT", 5.0)
    (tmp_path / LOCK).write_text(record(machine="another", host="node7", pid=3))
    monkeypatch.setattr(time, "sleep", lambda _: os.utime(tmp_path / LOCK, (time.time() + 1,) * 2))
    with pytest.raises(BraindinoError, match="process 3 on node7"), locked(tmp_path, "run folder"):
        pass


def test_locked_does_not_wait_for_earlier_start_of_same_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SLURM puts a job back only after its processes have ended."""
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    (tmp_path / LOCK).write_text(record(machine="another", host="node7"))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waited"))
    with locked(tmp_path, "run folder"):
        pass


@pytest.mark.parametrize(
    ("changes", "alive"),
    [
        ({}, True),
        ({"start": "1"}, False),
        ({"pid": 2**22 + 1}, False),
        ({"pid": None}, False),
        ({"namespace": "pid:[1]"}, True),
    ],
)
def test_is_locked_without_kernel_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], alive: bool
) -> None:
    """The process number, its start time and its container decide."""
    monkeypatch.setattr(locks, "lock_file", lambda *_, **__: None)
    (tmp_path / LOCK).write_text(record(**changes))
    assert is_locked(tmp_path) == alive
    (tmp_path / LOCK).write_text("")  # released
    assert not is_locked(tmp_path)


def test_locked_takes_over_from_silent_container_without_kernel_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes of another container are invisible here: a killed one must not block for ever."""
    monkeypatch.setattr(locks, "lock_file", lambda *_, **__: None)
    monkeypatch.setattr(locks, "TOUCH_TIMEOUT", 0.3)
    (tmp_path / LOCK).write_text(record(namespace="pid:[1]"))
    assert is_locked(tmp_path)
    with locked(tmp_path, "run folder"):  # after the time of silence
        pass


def test_machine_is_equal_in_all_processes() -> None:
    command = [sys.executable, "-c", "from braindino.locks import machine; print(machine())"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == machine()
