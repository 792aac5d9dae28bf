"""Read, strip, prepare, write and record one scan in a worker; imports nothing heavy."""

import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from pathlib import Path
from typing import Any, NamedTuple

from braindino.errors import BraindinoError, ScanError, TooLargeError
from braindino.scans.preprocessing import preprocess
from braindino.scans.reading import MAX_VOXELS, read_scan, signature
from braindino.scans.skull_stripping import strip_skull
from braindino.scans.store.layout import StoreLayout
from braindino.scans.store.ledger import LedgerWriter, Record

DIGESTS = ("sha256", "slices_digest")  # of the file and of its slices; older stores lack the second
MEASURES = ("depth", "height", "width", "first", "last", "scale", "zero_point")
DIED = "the process that read it died (out of memory?)"


class Task(NamedTuple):
    """Describe a scan to prepare.

    Attributes:
        path: path of the scan.
        identity: columns of the manifest, named by `ledger.SCAN_IDENTITY`.
        attempts: number of times that a process ended while it read this scan.
    """

    path: str
    identity: dict[str, str]
    attempts: int = 0


@dataclass(frozen=True)
class WorkerOptions:
    """Set options of the workers of a fill.

    Attributes:
        lag: offset added to the clock for records in the ledger [ns].
        max_voxels: larger scans are rejected.
    """

    lag: int = 0
    max_voxels: int = MAX_VOXELS


class Worker:
    """Prepare scans into one store and record each in a new file of the ledger."""

    def __init__(self, layout: StoreLayout, options: WorkerOptions = WorkerOptions()) -> None:
        self._layout = layout
        self._max_voxels = options.max_voxels
        self._ledger = LedgerWriter(layout.ledger, options.lag)

    def prepare(self, task: Task) -> Record:
        """Prepare one scan and return its record, with a reason if the scan has a problem.

        The attempt is recorded first, so that the next run recognises a scan that ended the process (out of
        memory). Errors of writing (a full disk) are raised, because they would affect every other scan too.
        """
        path = task.path
        about: Record = {"path": path, **task.identity, **signature(path)._asdict()}
        self._ledger.append({**about, "attempts": task.attempts + 1})
        record = dict(about)
        try:
            self._prepare(path, record)
        except TooLargeError as error:
            record |= {"reason": error.reason, "lasting": True, "voxels": error.voxels}
        except ScanError as error:
            record |= {"reason": error.reason, "lasting": error.lasting}
        except BaseException:  # Ctrl-C or a full disk: not caused by the scan
            with suppress(OSError):
                self._ledger.append({**about, "attempts": task.attempts})
            raise
        self._ledger.append(record)
        return record

    def reject(self, task: Task, lasting: bool) -> Record:
        """Record that a process died while it read a scan, so that the next run isolates it."""
        record: Record = {"path": task.path, **task.identity, **signature(task.path)._asdict()}
        record |= {"reason": DIED, "lasting": lasting, "died": True}
        self._ledger.append(record)
        return record

    def amend(self, record: Record, changes: Record) -> None:
        """Record changed columns of a prepared scan: identity, or signature of its file."""
        self._ledger.append({**record, **changes})

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def _prepare(self, path: str, record: Record) -> None:
        layout = self._layout
        try:
            scan = read_scan(path, self._max_voxels)
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
            # A defect of this package, or unforeseen damage: report it and go on with the other scans.
            raise ScanError(
                Path(path), f"internal error: {type(error).__name__}: {error}", lasting=False
            ) from error
        if sidecar is None:
            sidecar = layout.write(key, scan, prepared)
        record |= {"key": key, **{name: sidecar[name] for name in MEASURES}}
        record |= {name: sidecar[name] for name in DIGESTS if name in sidecar}

    def _sidecar(self, key: str) -> dict[str, Any] | None:
        """Return the sidecar of a key whose slices exist already (a copied or moved scan), or None."""
        try:
            sidecar = self._layout.read_sidecar(key)
            return sidecar if self._layout.holds(key, sidecar["depth"]) else None
        except (OSError, BraindinoError):
            return None


_worker: Worker | None = None


def start_worker(layout: StoreLayout, options: WorkerOptions) -> None:
    """Make this process a worker that ends at once on Ctrl-C and when its parent process ends."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    _worker = Worker(layout, options)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_exit_with_parent, args=(parent.sentinel,), daemon=True).start()


def prepare_in_worker(task: Task) -> Record:
    """Prepare one scan in a process that `start_worker` initialised."""
    if _worker is None:
        raise RuntimeError("start_worker was not called in this process")
    return _worker.prepare(task)


def _exit_with_parent(sentinel: Any) -> None:
    connection.wait([sentinel])
    signal.raise_signal(signal.SIGKILL)
