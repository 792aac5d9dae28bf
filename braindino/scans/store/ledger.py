"""Record what was done with each scan in append-only JSON lines, a file per process."""

import errno
import json
import os
import secrets
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Keys: path, time, the fields of a `Signature`, SCAN_IDENTITY, and one of: key ..., reason ..., attempts.
Record = dict[str, Any]
SCAN_IDENTITY = ("dataset", "subject", "session", "modality", "group")  # columns that identify a scan

_FORMER_NAMES = {"step": "scale", "zero": "zero_point"}  # spelled so up to version 0.1


class LedgerWriter:
    """Append records to a new file, so that no two processes ever write to the same file.

    Args:
        folder: folder of the ledger.
        lag: offset added to the clock [ns] (`clock_lag`), so that new records come after the existing ones
            even if the clock was set back; else the older record of a path would stay in force.
    """

    def __init__(self, folder: Path, lag: int = 0) -> None:
        stamp = f"{time.time_ns()}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._path = folder / f"{stamp}.jsonl"
        self._file: int | None = None
        self._lag, self._time = lag, 0

    def append(self, record: Record) -> None:
        """Append one line in a single write: a kill leaves whole lines, or one torn last line."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        self._time = max(time.time_ns() + self._lag, self._time + 1)
        line = (json.dumps({**record, "time": self._time}, allow_nan=False) + "\n").encode()
        try:
            if os.write(self._file, line) < len(line):  # a short write means that the disk is full
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            error.filename = str(self._path)
            raise

    def close(self) -> None:
        """Close the file if it is open."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_ledger(folder: Path) -> dict[str, Record]:
    """Return the latest record of each path; torn lines of killed writers are ignored."""
    latest: dict[str, Record] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if not isinstance(record, dict):
                continue
            if not isinstance(record.get("path"), str) or not isinstance(record.get("time"), int):
                continue
            known = latest.get(record["path"])
            if known is None or record["time"] >= known["time"]:
                latest[record["path"]] = record
    return latest


def with_current_names(record: Record) -> Record:
    """Return a ledger record or a sidecar with the names that are written today.

    Stores up to version 0.1 name the quantisation `step` and `zero` instead of `scale` and `zero_point`.
    """
    former = _FORMER_NAMES.keys() & record.keys()
    if not former:
        return record
    unchanged = {name: value for name, value in record.items() if name not in former}
    return {_FORMER_NAMES[name]: record[name] for name in former} | unchanged


def clock_lag(records: Mapping[str, Record]) -> int:
    """Return by how much [ns] the clock is behind the latest record; 0 unless it was set back."""
    latest = max((int(record["time"]) for record in records.values()), default=0)
    return max(0, latest + 1 - time.time_ns())


def ledger_stamp(folder: Path) -> tuple[tuple[str, int], ...]:
    """Return names and lengths of the ledger's files; they are equal if nothing was added."""
    return tuple(sorted((file.name, file.stat().st_size) for file in folder.glob("*.jsonl")))
