"""Record in `state.json` whether a run is running, done, failed or interrupted, under its folder's lock."""

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
from braindino.locks import LOCK, SILENT, is_locked, locked, machine

STATE = "state.json"


class _State(TypedDict):
    """state.json; host and pid of a run that is running."""

    state: Literal["running", "done", "failed", "interrupted"]
    host: NotRequired[str]
    pid: NotRequired[int]
    reason: NotRequired[str]


@contextmanager
def recorded(folder: Path) -> Iterator[None]:
    """Lock a run folder while the block runs, and record how the block ends.

    Temporary files that a killed run left in the folder are removed first.

    Raises:
        BraindinoError: another process runs in the folder.
    """
    with locked(folder, "run folder", "give this run a folder of its own with --run.id"):
        remove_leftovers(folder)
        start = {"host": platform.node(), "machine": machine(), "pid": os.getpid(), "started": _now()}
        _write(folder, "running", **start)
        try:
            yield
        except (KeyboardInterrupt, SystemExit):  # Lightning ends the process on Ctrl-C
            _write(folder, "interrupted", **start, ended=_now())
            raise
        except Exception as error:
            plain = isinstance(error, BraindinoError)
            reason = str(error) if plain else f"{type(error).__name__}: {error}"
            _write(folder, "failed", **start, ended=_now(), reason=reason)
            raise
        _write(folder, "done", **start, ended=_now())


def record_failure(folder: Path, reason: str) -> None:
    """Record the failure of a run that ended before it could do so itself."""
    _write(folder, "failed", host=platform.node(), ended=_now(), reason=reason)


def read_state(folder: Path) -> dict[str, Any]:
    """Return what is known: `state` is "running", "done", "failed", "interrupted" or "not started".

    A run counts as interrupted when no living process has its folder locked.

    Raises:
        BraindinoError: `state.json` is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return {"state": "not started"}
    known: dict[str, Any] = read_json(path, _State)
    if known["state"] != "running":
        return known
    return known if _is_running(folder, known) else {**known, "state": "interrupted"}


def _is_running(folder: Path, known: dict[str, Any]) -> bool:
    if (folder / LOCK).is_file():
        return is_locked(folder)
    if known.get("host") == platform.node():  # a run of an earlier version, which had no lock
        return Path(f"/proc/{known.get('pid')}").exists() and known.get("pid") != os.getpid()
    return time.time() - (folder / STATE).stat().st_mtime < SILENT


def _write(folder: Path, state: str, **facts: Any) -> None:
    write_json(folder / STATE, {"state": state, **facts})


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
