"""A look at a manifest's files, remembered: header, size and, where another has the same size, content."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from braindino.datasets.manifest import MASK
from braindino.errors import ScanError
from braindino.progress import track
from braindino.scans.reading import MISSING, Signature, content_digest, read_header, signature
from braindino.scans.seen import FILE_DIGEST
from braindino.scans.store.ledger import LedgerWriter, Record, clock_lag, read_ledger
from braindino.scans.store.store import Store

_MISSING = {"there": False, "reason": "", "shape": None, "spacing": None, "content": "", "digests": ()}


def inspect_files(
    table: pd.DataFrame,
    memory: Path,
    store: Store | None = None,
    progress: bool = True,
    all_contents: bool = False,
) -> pd.DataFrame:
    """One row per row of a manifest's table.

    Only headers are read, and the whole of those scans whose size another scan shares (of masks not: those
    that show nothing are equal, whoever they belong to). What was looked at and has not changed since is
    taken from `memory` (a folder) or, for the content, from the store's ledger; so an interrupted look goes
    on where it stopped.

    Args:
        table: of a manifest.
        memory: folder where the look is remembered.
        store: tells contents without reading files.
        progress: show a bar, or lines where output goes to a file.
        all_contents: read every scan whose content is not known, to compare it with a list of digests.

    Returns:
        columns `there` (bool), `reason` (why the header cannot be used, or ""), `shape` and `spacing` (mm)
        along the stored axes as tuples or None, `content` (equal for equal files; "" where not needed),
        `digests` (as `Seen.scans` has them; none where the content is not known).
    """
    known = read_ledger(memory)
    writer = LedgerWriter(memory, clock_lag(known))
    paths, masks = list(table["path"]), set(table.loc[table["modality"] == MASK, "path"])
    signatures = {path: signature(path) for path in paths}
    shared = Counter(now.bytes for path, now in signatures.items() if path not in masks)
    rows: list[dict[str, Any]] = []
    keys: list[str] = []
    try:
        for path in track(paths, len(paths), "check", progress):
            now = signatures[path]
            if now == MISSING:
                rows.append(dict(_MISSING))
                keys.append("")
                continue
            before = known.get(path, {})
            record = before if Signature.of_record(before) == now else None
            key = None if store is None or path in masks else store.key_of(path)
            hashed = (all_contents or shared[now.bytes] > 1) and key is None and path not in masks
            if record is None or (hashed and not record["sha256"]):
                record = {"path": path, **now._asdict(), **_look(path, hashed)}
                writer.append(record)
            content = "" if path in masks else key or _content(record, store)
            rows.append({"there": True, **_row(record), "content": content, "digests": _digests(record)})
            keys.append(key or "")
    finally:
        writer.close()
    if store is not None:
        stored = store.digests(key for key in keys if key)
        for row, key in zip(rows, keys, strict=True):
            row["digests"] = stored.get(key, row["digests"])
    return pd.DataFrame(rows, columns=list(_MISSING))


def _look(path: str, hashed: bool) -> Record:
    found: Record = {"reason": "", "shape": None, "spacing": None, "sha256": ""}
    try:
        layout = read_header(path)
        found["shape"] = list(layout.shape)
        found["spacing"] = [float(step) for step in np.linalg.norm(layout.affine[:3, :3], axis=0)]
    except ScanError as error:
        found["reason"] = error.reason
    if hashed:
        try:
            found["sha256"] = content_digest(path)
        except ScanError as error:
            found["reason"] = error.reason
    return found


def _row(record: Record) -> Record:
    shape, spacing = record["shape"], record["spacing"]
    return {
        "reason": record["reason"],
        "shape": None if shape is None else tuple(shape),
        "spacing": None if spacing is None else tuple(spacing),
    }


def _digests(record: Record) -> tuple[str, ...]:
    return (f"{FILE_DIGEST}{record['sha256']}",) if record["sha256"] else ()


def _content(record: Record, store: Store | None) -> str:
    """By the store's name for it, so that a scan in the store and one that is not can be compared."""
    digest = str(record["sha256"])
    return store.layout.key(digest) if store is not None and digest else digest
