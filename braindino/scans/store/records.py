"""Read the records of a store's ledger, and check whether a scan's file is unchanged since."""

import re
from typing import Any

from braindino.errors import ScanError
from braindino.scans.reading import Signature, content_digest, signature
from braindino.scans.store.layout import StoreLayout
from braindino.scans.store.ledger import SCAN_IDENTITY, Record, clock_lag, read_ledger, with_current_names

_KEY = re.compile(r"[0-9a-f]{40}")
_MEASURES = {
    **dict.fromkeys(("depth", "height", "width", "first", "last"), int),
    **dict.fromkeys(("scale", "zero_point"), (int, float)),
}


class StoreRecords:
    """Hold the records of a store, read from its ledger on first use and after `refresh`."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout
        self._by_path: dict[str, Record] | None = None
        self._attempts: dict[str, Record] = {}
        self._lag = 0
        self._verified: dict[tuple[str, Signature], bool] = {}

    def refresh(self) -> None:
        """Read the ledger again on the next use."""
        self._by_path = None

    @property
    def by_path(self) -> dict[str, Record]:
        """Return the latest record of each file, with `key` if prepared, `reason` if rejected."""
        if self._by_path is None:
            records = read_ledger(self._layout.ledger)
            records = {path: with_current_names(record) for path, record in records.items()}
            records = {p: r for p, r in records.items() if _is_valid(r)}
            self._lag = clock_lag(records)
            self._attempts = {p: r for p, r in records.items() if "attempts" in r}
            self._by_path = {p: r for p, r in records.items() if p not in self._attempts}
        return self._by_path

    @property
    def attempts(self) -> dict[str, Record]:
        """Return the records of scans during which a process ended, by path."""
        return self._attempts if self.by_path is not None else {}

    @property
    def lag(self) -> int:
        """Return the offset to add to the clock [ns] for new records (`clock_lag`)."""
        return self._lag if self.by_path is not None else 0

    def remember(self, record: Record) -> None:
        """Add a record as if read from the ledger, because a read-only store cannot store it."""
        self.by_path[record["path"]] = record

    def is_unchanged(self, record: Record) -> bool:
        """Return whether a record is of a prepared scan whose file has not changed.

        If only the change time or the inode differs (a file that replaced another with the same times, but
        also `chmod`), the content decides; it is read once.
        """
        if "key" not in record:
            return False
        now, then = signature(record["path"]), Signature.of_record(record)
        if now == then or now[:2] != then[:2]:
            return now == then
        if (record["path"], now) not in self._verified:
            self._verified[record["path"], now] = self._has_content(record)
        return self._verified[record["path"], now]

    def _has_content(self, record: Record) -> bool:
        try:
            return bool(self._layout.key(content_digest(record["path"])) == record["key"])
        except ScanError:
            return False


def _is_valid(record: Record) -> bool:
    """Return whether a record has all required fields; a damaged record is ignored.

    Keys become file names, so that in a store from an untrusted source they must not contain a path.
    """
    kinds: dict[str, Any] = {"bytes": int, "mtime_ns": int}
    if "attempts" in record:
        kinds |= {"attempts": int}
    else:
        kinds |= dict.fromkeys(SCAN_IDENTITY, str)
        if "drawn_on" in record and "reason" not in record:  # a mask that fits its scan
            kinds |= {"drawn_on": str}
        else:
            kinds |= _MEASURES if "key" in record else {"reason": str, "lasting": bool}
    if "key" in record and not (isinstance(record["key"], str) and _KEY.fullmatch(record["key"])):
        return False
    return all(isinstance(record.get(name), kind) for name, kind in kinds.items())
