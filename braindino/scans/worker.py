"""What a worker process does with one scan: read, strip, prepare, write, record. Imports nothing heavy."""

import signal
import threading
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any

from braindino.scans.layout import StoreLayout
from braindino.scans.ledger import LedgerWriter, Record
from braindino.scans.preprocessing import preprocess
from braindino.scans.reading import ScanError, read_scan, signature
from braindino.scans.stripping import strip_skull

MEASURES = ("depth", "height", "width", "first", "last", "step", "zero")


class Worker:
    """Prepares scans into one store and records each in a ledger of its own."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout
        self._ledger = LedgerWriter(layout.ledger)

    def prepare(self, path: str, identity: dict[str, str]) -> Record:
        """Prepare one scan. What is wrong with the scan becomes a record with its reason.

        An error in writing (a full disk) is raised: it would befall every other scan as well.
        """
        record: Record = {"path": path, **identity}
        record["bytes"], record["mtime_ns"] = signature(path)
        try:
            self._prepare(path, record)
        except ScanError as error:
            record |= {"reason": error.reason, "lasting": error.lasting}
        self._ledger.append(record)
        return record

    def reject(self, path: str, identity: dict[str, str], reason: str) -> Record:
        """Record that a scan cannot be had, for a reason that may pass."""
        size, mtime_ns = signature(path)
        record = {"path": path, **identity, "bytes": size, "mtime_ns": mtime_ns}
        record |= {"reason": reason, "lasting": False}
        self._ledger.append(record)
        return record

    def amend(self, record: Record, identity: dict[str, str]) -> None:
        """Record that a prepared scan belongs to somebody else than was thought."""
        self._ledger.append({**record, **identity})

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def _prepare(self, path: str, record: Record) -> None:
        layout = self._layout
        try:
            scan = read_scan(path)
            key = layout.key(scan.sha256)
            sidecar = self._sidecar(key)
            if sidecar is None:
                if layout.strip_cmd is not None:
                    scan = strip_skull(scan, layout.strip_cmd, layout.stripped)
                prepared = preprocess(scan, layout.contract)
        except ScanError:
            raise
        except MemoryError:
            raise ScanError(Path(path), "not enough memory to read it", lasting=False) from None
        except Exception as error:
            # A defect of ours, or a damage nobody thought of: it must be seen, and must not stop the others.
            raise ScanError(
                Path(path), f"internal error: {type(error).__name__}: {error}", lasting=False
            ) from error
        if sidecar is None:
            sidecar = layout.write(key, scan, prepared)
        record |= {"key": key, **{name: sidecar[name] for name in MEASURES}}

    def _sidecar(self, key: str) -> dict[str, Any] | None:
        """What is known of a key whose slices are there already (a copy of the scan, or the scan moved)."""
        try:
            sidecar = self._layout.read_sidecar(key)
            return sidecar if self._layout.holds(key, sidecar["depth"]) else None
        except (OSError, ValueError, KeyError):
            return None


_worker: Worker | None = None


def start_worker(layout: StoreLayout) -> None:
    """Make this process a worker: it ends at once on Ctrl-C, and when the process that started it is gone."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _worker = Worker(layout)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def prepare_in_worker(path: str, identity: dict[str, str]) -> Record:
    """Prepare one scan in a process that `start_worker` made."""
    if _worker is None:
        raise RuntimeError("start_worker was not called in this process")
    return _worker.prepare(path, identity)


def _end_with(sentinel: Any) -> None:
    connection.wait([sentinel])
    signal.raise_signal(signal.SIGKILL)
