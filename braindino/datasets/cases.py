"""Tables of cases, and whole cases as tensors, padded to equal numbers of slices."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from braindino.datasets.manifest import DROPPED_COLUMNS, IDENTITY, MASK, Manifest
from braindino.errors import BraindinoError
from braindino.scans.store.store import Store


def case_table(
    manifest: Manifest, store: Store, modalities: Sequence[str], needs_mask: bool = False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row per case with at least one scan in the store, and the dropped scans.

    Args:
        manifest: the scans.
        store: the prepared scans.
        modalities: scans of a case.
        needs_mask: drop cases without a usable mask.

    Returns:
        cases: `case`, the manifest's columns without path and modality (of the case's first scan),
            `key_<modality>` (`""` when missing), `mask` (path of the scan with modality "mask", or `""` if
            there is none or the store rejected it).
        dropped: columns `DROPPED_COLUMNS`, those of the manifest included.

    Raises:
        BraindinoError: scans of one case belong to two people.
    """
    rejects = store.rejects().set_index("path")["reason"].to_dict()
    unusable: list[tuple[str, str, str]] = []
    rows: dict[str, dict[str, Any]] = {}
    for record in manifest.table.to_dict("records"):
        scan = {str(column): cell for column, cell in record.items()}
        name = _name(scan)
        path, modality = scan.pop("path"), scan.pop("modality")
        # `case` is the first column, and is not replaced by a manifest's column of that name.
        with_name = {"case": name} | scan | {"case": name}
        row = rows.setdefault(name, {**with_name, **{f"key_{m}": "" for m in modalities}, MASK: ""})
        _refuse_two_people(name, row, scan)
        if modality == MASK and path in rejects:
            unusable.append((path, scan["subject"], rejects[path]))
        elif modality == MASK:
            row[MASK] = path
        elif modality in modalities:
            key = store.key_of(path)
            if not key:
                unusable.append((path, scan["subject"], rejects.get(path, "not in the store")))
            elif row[f"key_{modality}"]:
                unusable.append((path, scan["subject"], f"the case has another {modality}"))
            else:
                row[f"key_{modality}"] = key
    if needs_mask:
        for record in manifest.table[manifest.table["modality"] != MASK].to_dict("records"):
            name = _name({str(column): cell for column, cell in record.items()})
            if not rows[name][MASK]:
                unusable.append((str(record["path"]), str(record["subject"]), "its mask is rejected"))
        rows = {name: row for name, row in rows.items() if row[MASK]}
    cases = [row for row in rows.values() if any(row[f"key_{modality}"] for modality in modalities)]
    dropped = [*manifest.dropped.itertuples(index=False, name=None), *unusable]
    return pd.DataFrame(cases), pd.DataFrame(dropped, columns=list(DROPPED_COLUMNS))


def _refuse_two_people(name: str, row: dict[str, Any], scan: dict[str, Any]) -> None:
    """Raise BraindinoError if a scan's person or ids differ from those of its case."""
    differing = [column for column in ("group", *IDENTITY) if row[column] != scan[column]]
    if differing:
        column = differing[0]
        raise BraindinoError(
            f"the case {name!r} has scans of two: {column} {row[column]!r} and {scan[column]!r}.\n"
            "A case belongs to one person; correct the manifest, or remove the colons from the ids."
        )


def _name(scan: dict[str, Any]) -> str:
    """Return the name of a scan's case."""
    return ":".join(str(scan[column]) for column in IDENTITY if scan[column])


class CaseDataset(Dataset[dict[str, Any]]):
    """Cases of a table, read from the store one by one; see `collate` for batches."""

    def __init__(
        self,
        store: Store,
        cases: pd.DataFrame,
        modalities: Sequence[str],
        target: Sequence[str],
        classes: bool,
    ) -> None:
        """Look up keys and scales; slices are read on demand.

        Args:
            store: the prepared scans.
            cases: result of `case_table`, with the target; `case` in a batch is the label in its index.
            modalities: scans of a case, in the order of the batch.
            target: columns of the target; one column is called `target`.
            classes: the target is a class number, not a measurement.
        """
        self.store = store
        self.keys = cases[[f"key_{modality}" for modality in modalities]].to_numpy(str)
        self.number = cases.index.to_numpy(np.int64)
        columns = ["target"] if len(target) == 1 else list(target)
        values = cases[columns].to_numpy()
        values = values[:, 0] if len(columns) == 1 else values
        self.target = values.astype(np.int64 if classes else np.float32)
        scales = store.index().drop_duplicates("key").set_index("key")
        needed = scales.loc[sorted({key for key in self.keys.ravel() if key}), ["scale", "zero_point"]]
        self.scales = dict(
            zip(needed.index, zip(needed["scale"], needed["zero_point"], strict=True), strict=True)
        )

    def __len__(self) -> int:
        """Return the number of cases."""
        return len(self.keys)

    def __getitem__(self, i: int) -> dict[str, Any]:
        """Return slices (None if missing) and scales of a case's scans, its target and row label."""
        return {
            "slices": [np.array(self.store.slices(key)) if key else None for key in self.keys[i]],
            "scales": [self.scales.get(key, (1.0, 0.0)) for key in self.keys[i]],
            "target": self.target[i],
            "case": self.number[i],
        }


def collate(items: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Stack items of `CaseDataset` to a batch.

    Args:
        items: B cases of M scans.

    Returns:
        slices: (B, M, D, H, W) as stored, D the largest of the batch; missing scans and slices decode to 0.
        scale: (B, M) float32.
        zero_point: (B, M) float32.
        present: (B, M) bool.
        depth: (B, M) int64, slices of each scan, 0 if missing.
        target: (B,) int64 or float32, or (B, T) float32.
        case: (B,) int64, row labels of the table of cases.
    """
    scans = [scan for item in items for scan in item["slices"] if scan is not None]
    depth = max(len(scan) for scan in scans)
    scales = torch.tensor([item["scales"] for item in items], dtype=torch.float32)
    shape = (len(items), len(items[0]["slices"]), depth, *scans[0].shape[1:])
    slices = torch.empty(shape, dtype=torch.from_numpy(scans[0][:0]).dtype)
    for b, item in enumerate(items):
        for m, scan in enumerate(item["slices"]):
            filled = 0 if scan is None else len(scan)
            if scan is not None:
                slices[b, m, :filled] = torch.from_numpy(scan)
            slices[b, m, filled:] = float(scales[b, m, 1])
    depths = torch.tensor([[0 if scan is None else len(scan) for scan in item["slices"]] for item in items])
    target = torch.from_numpy(np.stack([item["target"] for item in items]))
    case = torch.tensor([item["case"] for item in items], dtype=torch.int64)
    return {
        "slices": slices,
        "scale": scales[..., 0],
        "zero_point": scales[..., 1],
        "present": depths > 0,
        "depth": depths,
        "target": target,
        "case": case,
    }
