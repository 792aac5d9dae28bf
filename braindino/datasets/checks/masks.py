"""Check that masks fit their scans; masks with errors become rejects of the store."""

from typing import Any, NamedTuple

import pandas as pd

from braindino.datasets.manifest import IDENTITY, MASK
from braindino.errors import ScanError
from braindino.files import can_write
from braindino.progress import track
from braindino.scans.geometry import mask_to_grid
from braindino.scans.reading import Signature, read_scan, signature
from braindino.scans.store.ledger import LedgerWriter, Record
from braindino.scans.store.store import Store

_COLUMNS = (*IDENTITY, "modality", "group")


class MaskCounts(NamedTuple):
    """Result of `check_masks`.

    Attributes:
        checked: masks whose case has a scan in the store.
        rejected: those that cannot be used.
    """

    checked: int
    rejected: int


def check_masks(
    store: Store, table: pd.DataFrame, progress: bool = True, retry_rejects: bool = False
) -> MaskCounts:
    """Check that each mask was drawn on the scan of its case that is in the store.

    A mask is not prepared. One that cannot be read, or whose shape or affine differs from those of its scan,
    is written to the store's rejects, and `case_table` ignores it. Results are saved in the ledger: a mask
    that has not changed is not read again, and an interruption loses nothing.

    Args:
        store: the prepared scans.
        table: the table of a manifest.
        progress: show a bar, or lines if output goes to a file.
        retry_rejects: read masks again that were rejected before.
    """
    if not (table["modality"] == MASK).any():
        return MaskCounts(0, 0)
    unchecked, checked, rejected = _unchecked_masks(store, table, retry_rejects)
    ledger = LedgerWriter(store.layout.ledger, store.history.lag)
    may_write = can_write(store.layout.ledger)
    try:
        for record in track(iter(unchecked), len(unchecked), "check masks", progress):
            record |= _rejection(store, record)
            if may_write:
                ledger.append(record)
            else:
                store.history.remember(record)
            rejected += "reason" in record
    finally:
        ledger.close()
        if unchecked and may_write:
            store.write_tables()
    return MaskCounts(checked, rejected)


def _unchecked_masks(store: Store, table: pd.DataFrame, retry_rejects: bool) -> tuple[list[Record], int, int]:
    """Return the masks to read, the number of masks with a scan, and that of known rejects."""
    keys = _scan_keys(store, table)
    unchecked: list[Record] = []
    checked = rejected = 0
    for mask in table[table["modality"] == MASK].to_dict("records"):
        drawn_on = keys.get(tuple(mask[column] for column in IDENTITY))
        if drawn_on is None:
            continue
        checked += 1
        current = signature(mask["path"])
        known = store.records.get(mask["path"], {})
        if Signature.of_record(known) == current and known.get("drawn_on") == drawn_on:
            if "reason" not in known:
                continue
            if known["lasting"] and not retry_rejects:
                rejected += 1
                continue
        ids = {"path": mask["path"], **{column: str(mask[column]) for column in _COLUMNS}}
        unchecked.append({**ids, **current._asdict(), "drawn_on": drawn_on})
    return unchecked, checked, rejected


def _scan_keys(store: Store, table: pd.DataFrame) -> dict[tuple[Any, ...], str]:
    """Return the key of the first scan in the store of each case."""
    keys: dict[tuple[Any, ...], str] = {}
    for scan in table[table["modality"] != MASK].to_dict("records"):
        case = tuple(scan[column] for column in IDENTITY)
        if case not in keys and (key := store.key_of(scan["path"])):
            keys[case] = key
    return keys


def _rejection(store: Store, record: Record) -> Record:
    """Return the reason why a mask cannot be used and if it is lasting, or nothing."""
    try:
        mask_to_grid(read_scan(record["path"]), store.geometry(record["drawn_on"]))
    except ScanError as error:
        return {"reason": error.reason, "lasting": error.lasting}
    return {}
