"""What a store's ledger holds of each scan, and whether the scan's file is still the one that was read."""

import re
from typing import Any

from braindino.errors import ScanError
from braindino.scans.reading import Signature, content_digest, signature
from braindino.scans.store.layout import StoreLayout
from braindino.scans.store.ledger import Record, clock_lag, read_ledger, with_current_names

_KEY = re.compile(r"[0-9a-f]{40}")
_IDENTITY = ("dataset", "subject", "session", "modality", "group")
_MEASURES = {
    **dict.fromkeys(("depth", "height", "width", "first", "last"), int),
    **dict.fromkeys(("scale", "zero_point"), (int, float)),
}


class StoreRecords:
    """The records of a store, read from its ledger at the first use and after `refresh`."""

    def __init__(self, layout: StoreLayout) -> None:
        self._layout = layout
        self._by_path: dict[str, Record] | None = None
        self._attempts: dict[str, Record] = {}
        self._lag = 0
        self._verified: dict[tuple[str, Signature], bool] = {}

    def refresh(self) -> None:
        """Read the ledger again at the next use."""
        self._by_path = None

    @property
    def by_path(self) -> dict[str, Record]:
        """The latest record of each file: a `key` if prepared, a `reason` if rejected, neither for a mask."""
        if self._by_path is None:
            records = read_ledger(self._layout.ledger)
            records = {path: with_current_names(record) for path, record in records.items()}
            records = {p: r for p, r in records.items() if _is_whole(r)}
            self._lag = clock_lag(records)
            self._attempts = {p: r for p, r in records.items() if "attempts" in r}
            self._by_path = {p: r for p, r in records.items() if p not in self._attempts}
        return self._by_path

    @property
    def attempts(self) -> dict[str, Record]:
        """Records of scans whose process ended while it read them, by path."""
        return self._attempts if self.by_path is not None else {}

    @property
    def lag(self) -> int:
        """What to add to the clock [ns] for new records (`clock_lag`)."""
        return self._lag if self.by_path is not None else 0

    def remember(self, record: Record) -> None:
        """Take a record as if read from the ledger: one that could not be written to a read-only store."""
        self.by_path[record["path"]] = record

    def is_unchanged(self, record: Record) -> bool:
        """Return whether a record is of a prepared scan whose file is the one that was read.

        Where only the change time or the inode differs (a file put in the place of another with its times
        kept, but also `chmod`), the content decides; it is read once.
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
            return self._layout.key(content_digest(record["path"])) == record["key"]
        except ScanError:
            return False


def _is_whole(record: Record) -> bool:
    """Return whether a record has all that is read of it; a damaged one counts as none.

    Keys become names of files: in a store from elsewhere they must not be able to lead out of it.
    """
    kinds: dict[str, Any] = {"bytes": int, "mtime_ns": int}
    if "attempts" in record:
        kinds |= {"attempts": int}
    elif "drawn_on" in record and "reason" not in record:  # a mask that fits its scan
        kinds |= {**dict.fromkeys(_IDENTITY, str), "drawn_on": str}
    else:
        kinds |= dict.fromkeys(_IDENTITY, str)
        is_sound_mask = "drawn_on" in record and "reason" not in record
        problem: dict[str, Any] = {"drawn_on": str} if is_sound_mask else {"reason": str, "lasting": bool}
        kinds |= _MEASURES if "key" in record else problem
    if "key" in record and not (isinstance(record["key"], str) and _KEY.fullmatch(record["key"])):
        return False
    return all(isinstance(record.get(name), kind) for name, kind in kinds.items())
