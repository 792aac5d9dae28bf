"""Write and read features with ids as Parquet, .npy or CSV: a row per scan, slice or patch."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd

from braindino.csv_text import neutralise_table, restore_table
from braindino.errors import BraindinoError
from braindino.files import atomic_write

FEATURE = "feature_"
_NUMBERED = re.compile(rf"^{FEATURE}\d+$")
EMBEDDING_SUFFIXES = (".parquet", ".npy", ".csv")

# Takes rows: ids (n rows), and their features (n, width).
RowWriter = Callable[[pd.DataFrame, np.ndarray], None]


def ids_file(path: Path) -> Path:
    """Return the path of the table beside an .npy: `emb.npy` -> `emb.ids.csv`."""
    return path.with_name(f"{path.stem}.ids.csv")


def check_suffix(path: Path) -> None:
    """Raise BraindinoError for a file name with the suffix of none of the formats."""
    if path.suffix not in EMBEDDING_SUFFIXES:
        raise BraindinoError(f"{path}: expected a name that ends in {', '.join(EMBEDDING_SUFFIXES)}.")


@contextmanager
def embedding_writer(path: Path, rows: int, width: int) -> Iterator[RowWriter]:
    """Yield a writer of a file that takes its name when the block ends without an error.

    .parquet: columns of the ids, then `feature_0` to `feature_<width - 1>` (float32). .csv: the same as text.
    .npy: the features alone (rows, width) float32, the ids in `<stem>.ids.csv`.

    Args:
        path: path of the file; its suffix is the format.
        rows: number of rows that will be written.
        width: features of a row.

    Raises:
        BraindinoError: a suffix of none of the formats.
    """
    check_suffix(path)
    names = [f"{FEATURE}{i}" for i in range(width)]
    with atomic_write(path, "wb") as file:
        if path.suffix == ".parquet":
            with _parquet(file, names) as write:
                yield write
        elif path.suffix == ".csv":
            yield _CSV(file, names)
        else:
            header = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
            np.lib.format.write_array_header_1_0(file, header)
            with atomic_write(ids_file(path), "wb") as table:
                ids = _CSV(table, [])

                def write(part: pd.DataFrame, features: np.ndarray) -> None:
                    ids(part, np.empty((len(part), 0)))
                    file.write(np.ascontiguousarray(features, "<f4").data)

                yield write


def read_embedding(path: Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Read a file that `embedding_writer` wrote.

    Args:
        path: path of the file.

    Returns:
        The ids, and the features (rows, width) float32.

    Raises:
        BraindinoError: no such file, another format, or no features in it.
    """
    check_suffix(path)
    if not path.is_file():
        raise BraindinoError(f"{path}: no such file. `braindino embed` writes one.")
    try:
        if path.suffix == ".npy":
            if not ids_file(path).is_file():
                raise BraindinoError(
                    f"{path}: no {ids_file(path).name} beside it, with the ids of its rows.\n"
                    "Copy that file too, or run `braindino embed` again."
                )
            features = np.load(path, allow_pickle=False)
            ids = restore_table(pd.read_csv(ids_file(path), keep_default_na=False))
            if features.ndim != 2 or len(ids) != len(features):
                raise BraindinoError(
                    f"{path}: of shape {features.shape} with {len(ids)} ids; they do not belong together."
                )
            return ids, features.astype(np.float32, copy=False)
        table = (
            pd.read_parquet(path)
            if path.suffix == ".parquet"
            else restore_table(pd.read_csv(path, keep_default_na=False))
        )
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise BraindinoError(f"{path}: cannot be read ({str(error).splitlines()[0]}).") from error
    names = [name for name in table.columns if _NUMBERED.match(str(name))]
    if not names:
        raise BraindinoError(f"{path}: no columns {FEATURE}0, ...; `braindino embed` writes such a file.")
    return table.drop(columns=names), table[names].to_numpy(dtype=np.float32)


def _without_feature_names(ids: pd.DataFrame) -> pd.DataFrame:
    """Return the ids with a column `feature_0` renamed to `own_feature_0`, likewise others."""
    return ids.rename(columns=lambda name: f"own_{name}" if _NUMBERED.match(str(name)) else name)


class _CSV:
    """Write rows as text, float32 in as few digits as are read back exactly.

    Args:
        file: binary file to write to.
        names: names of the features.
    """

    def __init__(self, file: IO[bytes], names: list[str]) -> None:
        self.file, self.names, self.started = file, names, False

    def __call__(self, ids: pd.DataFrame, features: np.ndarray) -> None:
        values = pd.DataFrame(features, columns=self.names, index=ids.index)
        text = io.StringIO()
        neutralise_table(pd.concat([_without_feature_names(ids), values], axis=1)).to_csv(
            text, index=False, header=not self.started, lineterminator="\n"
        )
        self.started = True
        self.file.write(text.getvalue().encode("utf-8", "surrogateescape"))


@contextmanager
def _parquet(file: IO[bytes], names: list[str]) -> Iterator[RowWriter]:
    """Yield a writer of Parquet row groups, with the features under `names`."""
    import pyarrow
    import pyarrow.parquet

    opened: list[Any] = []

    def write(ids: pd.DataFrame, features: np.ndarray) -> None:
        ids = _without_feature_names(ids)
        columns = {str(name): pyarrow.array(ids[name]) for name in ids.columns}
        columns |= {name: pyarrow.array(features[:, i]) for i, name in enumerate(names)}
        table = pyarrow.table(columns)
        if not opened:
            opened.append(pyarrow.parquet.ParquetWriter(file, table.schema))
        opened[0].write_table(table)

    try:
        yield write
    finally:
        for writer in opened:
            writer.close()
