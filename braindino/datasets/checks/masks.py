"""Masks held against the scans they were drawn on: what is wrong with one becomes a reject of the store."""

from typing import Any

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


def check_masks(
    store: Store, table: pd.DataFrame, progress: bool = True, retry_rejects: bool = False
) -> tuple[int, int]:
    """Read each mask of a manifest whose case has a scan in the store; see that it was drawn on that scan.

    A mask is no image and is not prepared; but one that cannot be read, or has another shape or affine than
    its scan, is written to the store's rejects, and `case_table` goes without it. What was found is kept in
    the ledger: a mask that has not changed is not read again, and interrupting this is safe.

    Returns:
        How many masks there are to a scan, and how many of them are rejected.
    """
    masks = table[table["modality"] == MASK].to_dict("records")
    if not masks:
        return 0, 0
    keys: dict[tuple[Any, ...], str] = {}
    for scan in table[table["modality"] != MASK].to_dict("records"):
        case = tuple(scan[column] for column in IDENTITY)
        if case not in keys and (key := store.key_of(scan["path"])):
            keys[case] = key
    todo: list[Record] = []
    drawn = rejected = 0
    for mask in masks:
        drawn_on = keys.get(tuple(mask[column] for column in IDENTITY))
        if drawn_on is None:
            continue
        drawn += 1
        now = signature(mask["path"])
        known = store.records.get(mask["path"], {})
        if Signature.of_record(known) == now and known.get("drawn_on") == drawn_on:
            if "reason" not in known:
                continue
            if known["lasting"] and not retry_rejects:
                rejected += 1
                continue
        about = {"path": mask["path"], **{column: str(mask[column]) for column in _COLUMNS}}
        todo.append({**about, **now._asdict(), "drawn_on": drawn_on})
    ledger = LedgerWriter(store.layout.ledger, store.history.lag)
    may_write = can_write(store.layout.ledger)
    try:
        for record in track(iter(todo), len(todo), "check masks", progress):
            record |= _problem(store, record)
            if may_write:
                ledger.append(record)
            else:
                store.history.remember(record)
            rejected += "reason" in record
    finally:
        ledger.close()
        if todo and may_write:
            store.write_tables()
    return drawn, rejected


def _problem(store: Store, record: Record) -> Record:
    """Reason, and whether it lasts, of a mask that cannot be used; nothing of a sound one."""
    try:
        mask_to_grid(read_scan(record["path"]), store.geometry(record["drawn_on"]))
    except ScanError as error:
        return {"reason": error.reason, "lasting": error.lasting}
    return {}
