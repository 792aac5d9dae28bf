"""The store's memory: append-only JSON lines, one file per writing process, safe against a kill."""

import json
import os
import secrets
import socket
import time
from pathlib import Path
from typing import Any

Record = dict[str, Any]  # path, bytes, mtime_ns, time, identity columns, and either key ... or reason


class LedgerWriter:
    """Appends records to a file of its own, so that no two processes ever write to one file."""

    def __init__(self, folder: Path) -> None:
        stamp = f"{time.time_ns()}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._path = folder / f"{stamp}.jsonl"
        self._file: int | None = None

    def append(self, record: Record) -> None:
        """Add one line, handed to the system in one call: a kill leaves whole lines or a torn last one."""
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        line = json.dumps({**record, "time": time.time_ns()}, allow_nan=False) + "\n"
        os.write(self._file, line.encode())

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read_ledger(folder: Path) -> dict[str, Record]:
    """The latest record of each path. A torn line (its writer was killed) is passed over."""
    latest: dict[str, Record] = {}
    for file in sorted(folder.glob("*.jsonl")):
        for line in file.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if not isinstance(record, dict) or not {"path", "time"} <= record.keys():
                continue
            known = latest.get(record["path"])
            if known is None or record["time"] >= known["time"]:
                latest[record["path"]] = record
    return latest


def ledger_stamp(folder: Path) -> tuple[tuple[str, int], ...]:
    """Names and lengths of the ledger's files: equal stamps mean that nothing was added."""
    return tuple(sorted((file.name, file.stat().st_size) for file in folder.glob("*.jsonl")))
