"""Arrange features as rows of a table: one per scan, slice or patch, with its ids."""

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import pandas as pd

RowLevel = Literal["scan", "slice", "patch"]
ROWS_AT_ONCE = 4096


def scan_rows(
    scan: pd.DataFrame, features: np.ndarray, level: RowLevel, every: int, grid: tuple[int, int]
) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows of one scan.

    Args:
        scan: ids of the scan, one row.
        features: features of its slices (D, width).
        level: "scan" for the mean over slices, "slice" for a row per slice (with a column `slice`), "patch"
            for a row per patch (with columns `slice`, `row`, `column`).
        every: take the first slice, and every so many after it.
        grid: rows and columns of patches in a slice.

    Returns:
        Ids (n rows), and features (n, embed_dim).
    """
    if level == "scan":
        return scan, features.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
    slices = np.arange(0, len(features), every)
    rows, columns = grid
    ids = scan.loc[scan.index.repeat(len(slices) * rows * columns)].reset_index(drop=True)
    ids["slice"] = np.repeat(slices, rows * columns)
    if level == "patch":
        ids["row"] = np.tile(np.repeat(np.arange(rows), columns), len(slices))
        ids["column"] = np.tile(np.arange(columns), len(slices) * rows)
    return ids, features[slices].reshape(len(ids), -1)


def join_rows(
    parts: Iterable[tuple[pd.DataFrame, np.ndarray]],
) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    """Yield the same rows in larger parts, as Parquet files of few row groups are read faster.

    Args:
        parts: ids, and features (n, embed_dim).
    """
    ids: list[pd.DataFrame] = []
    features: list[np.ndarray] = []
    for part_ids, part_features in parts:
        ids.append(part_ids)
        features.append(part_features)
        if sum(map(len, ids)) >= ROWS_AT_ONCE:
            yield pd.concat(ids, ignore_index=True), np.concatenate(features)
            ids, features = [], []
    if ids:
        yield pd.concat(ids, ignore_index=True), np.concatenate(features)
