"""Record in `state.json` whether a run is running, done, failed or interrupted."""

import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

from braindino.errors import BraindinoError
from braindino.files import read_json, remove_leftovers, write_json
from braindino.locks import LOCK, TOUCH_TIMEOUT, is_locked, locked, machine

STATE = "state.json"


class _State(TypedDict):
    """Content of state.json.

    Attributes:
        state: state of the run.
        host: name of the machine that it runs, or ran, on.
        pid: process id of its first process.
        reason: message of the error that ended it.
    """

    state: Literal["running", "done", "failed", "interrupted"]
    host: NotRequired[str]
    pid: NotRequired[int]
    reason: NotRequired[str]


@contextmanager
def record_state(folder: Path) -> Iterator[None]:
    """Lock a run folder while the block runs, and record how the block ends.

    Temporary files that a killed run left in the folder are removed first.

    Args:
        folder: the run folder.

    Raises:
        BraindinoError: another process runs in the folder.
    """
    with locked(folder, "run folder", "give this run another folder with --run.id"):
        remove_leftovers(folder)
        start = {"host": platform.node(), "machine": machine(), "pid": os.getpid(), "started": _now()}
        _write(folder, "running", **start)
        try:
            yield
        # Lightning ends the process on Ctrl-C.
        except (KeyboardInterrupt, SystemExit):
            _write(folder, "interrupted", **start, ended=_now())
            raise
        except Exception as error:
            is_expected = isinstance(error, BraindinoError)
            reason = str(error) if is_expected else f"{type(error).__name__}: {error}"
            _write(folder, "failed", **start, ended=_now(), reason=reason)
            raise
        _write(folder, "done", **start, ended=_now())


def record_failure(folder: Path, reason: str) -> None:
    """Record the failure of a run that ended before it could do so itself."""
    _write(folder, "failed", host=platform.node(), ended=_now(), reason=reason)


def read_state(folder: Path) -> dict[str, Any]:
    """Return the state of a run, with the facts recorded beside it.

    A run counts as interrupted when no living process has its folder locked.

    Args:
        folder: the run folder.

    Returns:
        `state` is "running", "done", "failed", "interrupted" or "not started".

    Raises:
        BraindinoError: `state.json` is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return {"state": "not started"}
    content: dict[str, Any] = read_json(path, _State)
    if content["state"] != "running" or _is_running(folder, content):
        return content
    return {**content, "state": "interrupted"}


def _is_running(folder: Path, content: dict[str, Any]) -> bool:
    if (folder / LOCK).is_file():
        return is_locked(folder)
    # Runs of earlier versions had no lock.
    if content.get("host") == platform.node():
        return Path(f"/proc/{content.get('pid')}").exists() and content.get("pid") != os.getpid()
    return time.time() - (folder / STATE).stat().st_mtime < TOUCH_TIMEOUT


def _write(folder: Path, state: str, **facts: Any) -> None:
    write_json(folder / STATE, {"state": state, **facts})


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
