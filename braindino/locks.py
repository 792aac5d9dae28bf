"""Lock a folder for one process, on local disks, network file systems and in containers."""

import errno
import fcntl
import json
import os
import platform
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from braindino.documents import load_json
from braindino.errors import BraindinoError

LOCK = ".lock"
TOUCH_INTERVAL = 20.0  # seconds between two touches of a lock file
TOUCH_TIMEOUT = 180.0  # seconds without a touch after which a process on another machine counts as dead
RETRIES = 10  # a process that only checks a lock takes it for an instant
_UNSUPPORTED = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL}
_open_locks: set[int] = set()


@cache
def machine() -> str:
    """Return an id of the running kernel, equal in all containers and new after a reboot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return platform.node()


def lock_file(descriptor: int, exclusive: bool = True) -> bool | None:
    """Try to lock an open file.

    Returns:
        True if the lock was acquired, False if another process has it, None if the file system has no locks.
    """
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        raise
    return True


def is_locked(folder: Path) -> bool:
    """Return whether a living process has locked `folder`."""
    path = folder / LOCK
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return _is_alive(path, lock_file(descriptor, exclusive=False))
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path, what: str, remedy: str = "") -> Iterator[None]:
    """Lock `folder` while the block runs.

    The kernel releases the lock when the process ends in any way, so that a killed process blocks no other.
    On file systems without locks, or with locks within one machine only, the process with the lock touches
    the file every `TOUCH_INTERVAL` seconds, and a process on another machine waits until it was not
    touched for `TOUCH_TIMEOUT` seconds. A job that its scheduler requeued does not wait for its own earlier
    start.

    Args:
        folder: created if it does not exist.
        what: kind of folder, for the message: "run folder".
        remedy: what to do besides waiting.

    Raises:
        BraindinoError: another process has locked the folder.
    """
    path, is_new = folder / LOCK, not folder.exists()
    descriptor, taken = _open_and_lock(path)
    released = threading.Event()
    try:
        if not _is_our_job(_record(path)) and _stays_alive(path, taken, what):
            raise BraindinoError(_refusal(folder, _record(path), what, remedy))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_this_process()).encode(), 0)
        threading.Thread(target=_touch_until_released, args=(path, released), daemon=True).start()
        try:
            yield
        finally:
            released.set()
            # On a full disk, or if the folder was moved, the lock is freed all the same.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
                if is_new:
                    _remove_if_empty(folder)
    finally:
        _open_locks.discard(descriptor)
        os.close(descriptor)


def _open_and_lock(path: Path) -> tuple[int, bool | None]:
    """Return the descriptor of the lock file, and the result of `lock_file` after some retries."""
    for attempt in range(RETRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        _open_locks.add(descriptor)
        _share(descriptor, path.parent)
        taken = lock_file(descriptor)
        # The previous process may have removed the file between the two calls.
        if taken is not False and path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor, taken
        if attempt == RETRIES - 1:
            break
        _open_locks.discard(descriptor)
        os.close(descriptor)
        time.sleep(0.05)
    return descriptor, False


def _share(descriptor: int, folder: Path) -> None:
    """Give the lock file the write permissions of its folder, as a group's shared folder needs."""
    with suppress(OSError):  # the file of another user
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        wanted = mode | folder.stat().st_mode & 0o066
        if wanted != mode:
            os.fchmod(descriptor, wanted)


def _remove_if_empty(folder: Path) -> None:
    """Remove a folder that contains only the lock, because its run was rejected at its start."""
    if [path.name for path in folder.iterdir()] == [LOCK]:
        (folder / LOCK).unlink()
        folder.rmdir()


def _is_alive(path: Path, locked: bool | None) -> bool:
    """Return whether the process that a lock file names is alive.

    For a process of this machine the kernel's lock decides. For one of another machine it does not: the lock
    may be invisible here, or be left over from a node that lost its power. There, and in another container on
    a file system without locks, only touches of the file show that the process is alive.

    Args:
        path: the lock file.
        locked: result of `lock_file`.
    """
    record = _record(path)
    if not _shows_by_touch(record, locked):
        return _is_running(record) if locked is None else not locked
    with suppress(OSError):
        return time.time() - path.stat().st_mtime < TOUCH_TIMEOUT
    return False


def _stays_alive(path: Path, locked: bool | None, what: str) -> bool:
    """Wait up to `TOUCH_TIMEOUT` seconds until an invisible process touches its lock file."""
    if not _is_alive(path, locked):
        return False
    record = _record(path)
    if not _shows_by_touch(record, locked):
        return True
    touched = path.stat().st_mtime
    waited_until = time.time() + TOUCH_TIMEOUT
    print(
        f"{what} {path.parent} was in use on {record.get('host')} (process {record.get('pid')}); "
        f"waiting up to {TOUCH_TIMEOUT:.0f} s for a sign of life",
        file=sys.stderr,
        flush=True,
    )
    while time.time() < min(waited_until, touched + TOUCH_TIMEOUT):
        time.sleep(min(1.0, TOUCH_TIMEOUT / 10))
        if path.stat().st_mtime != touched:
            return True
    return False


def _shows_by_touch(record: dict[str, Any], locked: bool | None) -> bool:
    """Return whether only touches of the lock file show that the process of a record is alive."""
    if not record:
        return False
    hidden = locked is None and record.get("namespace") != _namespace()  # in another container
    return hidden or record.get("machine") != machine()


def _is_running(record: dict[str, Any]) -> bool:
    """Return whether the process of a record runs, compared by its id and its start time."""
    return bool(record) and _start_of(record.get("pid")) == record.get("start")


def _is_our_job(record: dict[str, Any]) -> bool:
    """Return whether a record is of an earlier start of this same job, ended by the scheduler."""
    job = _job()
    return job is not None and record.get("job") == job and record.get("restarts") != _restarts()


def _job() -> str | None:
    return os.environ.get("SLURM_JOB_ID")


def _restarts() -> str:
    return os.environ.get("SLURM_RESTART_COUNT", "0")


def _this_process() -> dict[str, Any]:
    return {
        "host": platform.node(),
        "machine": machine(),
        "namespace": _namespace(),
        "pid": os.getpid(),
        "start": _start_of(os.getpid()),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
        "job": _job(),
        "restarts": _restarts(),
    }


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _start_of(pid: object) -> str:
    """Return the start time of a process in ticks since boot, or "" if it does not run."""
    try:
        words = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except OSError:
        return ""
    return "" if words[0] == "Z" else words[19]


def _record(path: Path) -> dict[str, Any]:
    """Return the record in a lock file, or an empty one if the lock was released."""
    try:
        record: dict[str, Any] = load_json(path, dict[str, Any])
    except (OSError, ValueError):
        return {}
    return record


def _refusal(folder: Path, record: dict[str, Any], what: str, remedy: str) -> str:
    who = (
        f"process {record.get('pid')} on {record.get('host')} since {record.get('since')}"
        if record
        else "another process"
    )
    return f"{what} {folder} is in use by {who}.\nWait until it has ended{remedy and f', or {remedy}'}."


def _touch_until_released(path: Path, released: threading.Event) -> None:
    while not released.wait(TOUCH_INTERVAL):
        with suppress(OSError):
            os.utime(path)


def _close_in_child() -> None:
    """Close the lock files in a forked worker, which may outlive a killed parent for seconds."""
    for descriptor in _open_locks:
        with suppress(OSError):
            os.close(descriptor)
    _open_locks.clear()


os.register_at_fork(after_in_child=_close_in_child)
