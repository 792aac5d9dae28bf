"""`state.json` of a run: whether it is running, done or failed, told by the run itself."""

import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from braindino.errors import BraindinoError
from braindino.files import read_json, write_json

STATE = "state.json"
BEAT = 60.0  # seconds between the signs of life of a run
SILENT = 900.0  # without one for so long, a run of another machine is taken for dead


@contextmanager
def recorded(folder: Path) -> Iterator[None]:
    """The block is the run in `folder`: running, then done, failed (with the reason) or interrupted."""
    start = {"host": platform.node(), "pid": os.getpid(), "started": _now()}
    _write(folder, "running", **start)
    over = threading.Event()
    threading.Thread(target=_beat, args=(folder / STATE, over), daemon=True).start()
    try:
        yield
    except (KeyboardInterrupt, SystemExit):  # Lightning ends the process on Ctrl-C
        _write(folder, "interrupted", **start, ended=_now())
        raise
    except Exception as error:
        told = str(error) if isinstance(error, BraindinoError) else f"{type(error).__name__}: {error}"
        _write(folder, "failed", **start, ended=_now(), reason=told)
        raise
    finally:
        over.set()
    _write(folder, "done", **start, ended=_now())


def record_failure(folder: Path, reason: str) -> None:
    """A run that ended before it could tell so itself."""
    _write(folder, "failed", host=platform.node(), ended=_now(), reason=reason)


def read_state(folder: Path) -> dict[str, Any]:
    """What is known: `state` is "running", "done", "failed", "interrupted" or "not started".

    A run counts as interrupted when its process is gone, which is looked for on this machine only; of another
    machine when its file was not touched for `SILENT` seconds.
    """
    path = folder / STATE
    if not path.is_file():
        return {"state": "not started"}
    known: dict[str, Any] = read_json(path)
    if known["state"] != "running":
        return known
    if known["host"] == platform.node():
        alive = _alive(known["pid"])
    else:
        alive = time.time() - path.stat().st_mtime < SILENT
    return known if alive else {**known, "state": "interrupted"}


def _beat(path: Path, over: threading.Event) -> None:
    """Touch the file until the run is over; other machines see that it lives."""
    while not over.wait(BEAT):
        with suppress(OSError):  # the folder was moved away; the run itself will tell
            os.utime(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write(folder: Path, state: str, **facts: Any) -> None:
    write_json(folder / STATE, {"state": state, **facts})


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
