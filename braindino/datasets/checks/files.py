"""Read headers of a manifest's files, and the content of files of equal size, with a cache."""

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

_MISSING = {"exists": False, "reason": "", "shape": None, "spacing": None, "content": "", "digests": ()}


def inspect_files(
    table: pd.DataFrame,
    cache: Path,
    store: Store | None = None,
    progress: bool = True,
    all_contents: bool = False,
) -> pd.DataFrame:
    """Return one row per row of a manifest's table.

    Only headers are read, and the content of scans with equal sizes. The content of masks is not compared,
    because empty masks of different people are equal. Results for files that have not changed come from
    `cache` or, for the content, from the store's ledger, so that an interrupted run can continue.

    Args:
        table: the table of a manifest.
        cache: folder of the results.
        store: store with the digests of prepared scans.
        progress: show a bar, or lines if output goes to a file.
        all_contents: read every scan whose digest is not known, to compare it with a list of digests.

    Returns:
        DataFrame with the columns `exists` (bool), `reason` (why the header cannot be used, or ""), `shape`
        [voxels] and `spacing` [mm] along the stored axes (tuple or None), `content` (equal for equal files;
        "" if not needed), `digests` (tuple, as in `Seen.scans`; empty if the content is not known).
    """
    known = read_ledger(cache)
    writer = LedgerWriter(cache, clock_lag(known))
    paths, masks = list(table["path"]), set(table.loc[table["modality"] == MASK, "path"])
    signatures = {path: signature(path) for path in paths}
    sizes = Counter(current.bytes for path, current in signatures.items() if path not in masks)
    rows: list[dict[str, Any]] = []
    keys: list[str] = []
    try:
        for path in track(paths, len(paths), "check", progress):
            current = signatures[path]
            if current == MISSING:
                rows.append(dict(_MISSING))
                keys.append("")
                continue
            cached = known.get(path, {})
            record = cached if Signature.of_record(cached) == current else None
            key = None if store is None or path in masks else store.key_of(path)
            hashed = (all_contents or sizes[current.bytes] > 1) and key is None and path not in masks
            if record is None or (hashed and not record["sha256"]):
                record = {"path": path, **current._asdict(), **_read_file(path, hashed)}
                writer.append(record)
            content = "" if path in masks else key or _content(record, store)
            rows.append({"exists": True, **_row(record), "content": content, "digests": _digests(record)})
            keys.append(key or "")
    finally:
        writer.close()
    if store is not None:
        stored = store.digests(key for key in keys if key)
        for row, key in zip(rows, keys, strict=True):
            row["digests"] = stored.get(key, row["digests"])
    return pd.DataFrame(rows, columns=list(_MISSING))


def _read_file(path: str, hashed: bool) -> Record:
    """Return shape, spacing and, if `hashed`, digest of a file, or why it cannot be used."""
    record: Record = {"reason": "", "shape": None, "spacing": None, "sha256": ""}
    try:
        layout = read_header(path)
        record["shape"] = list(layout.shape)
        record["spacing"] = [float(step) for step in np.linalg.norm(layout.affine[:3, :3], axis=0)]
    except ScanError as error:
        record["reason"] = error.reason
    if hashed:
        try:
            record["sha256"] = content_digest(path)
        except ScanError as error:
            record["reason"] = error.reason
    return record


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
    """Return the key that the content has in the store, or the digest without a store."""
    digest = str(record["sha256"])
    return store.layout.key(digest) if store is not None and digest else digest
