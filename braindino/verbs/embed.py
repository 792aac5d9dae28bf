"""Write the features of every scan of a manifest as a table for other programs."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from braindino.datasets.manifest import MASK, Manifest
from braindino.encoders.base import Encoder
from braindino.encoders.cache import Features, Precision, patch_grid
from braindino.encoders.embedding_files import check_suffix, embedding_writer, read_embedding
from braindino.encoders.embedding_rows import RowLevel, join_rows, scan_rows
from braindino.encoders.features import extract
from braindino.errors import BraindinoError
from braindino.files import write_json
from braindino.progress import track
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store
from braindino.verbs.opening import Device, check_at_least_one, open_device, open_encoder
from braindino.version import __version__


@dataclass(frozen=True)
class Embedding:
    """A file of features.

    Attributes:
        path: path of the file.
        rows: number of rows.
        features: number of features of a row.
        scans: number of scans in the file.
        rejected: number of scans that could not be prepared, and are not in the file.
        rejects: table of the rejected scans of the store, with reasons.
    """

    path: Path
    rows: int
    features: int
    scans: int
    rejected: int
    rejects: Path

    def read(self) -> tuple[pd.DataFrame, np.ndarray]:
        """Return the ids and the features (rows, features) float32."""
        return read_embedding(self.path)


def embed(
    manifest: Manifest | Path | str,
    encoder: str,
    out: Path | str,
    *,
    level: RowLevel = "scan",
    every: int = 1,
    store: Path | str = "store",
    strip_cmd: str | None = None,
    cache: Path | str | None = None,
    jobs: int = 1,
    batch_size: int = 128,
    precision: Precision = "float32",
    device: Device = "auto",
    prepare: bool = False,
    progress: bool = True,
) -> Embedding:
    """Write the features of a manifest's scans: a row per scan, slice or patch.

    The columns of the manifest come first. Scans are prepared into the store, and features are cached:
    nothing is computed twice, and the same call continues where it was interrupted. `<out>.json` lists
    encoder and contract.

    Args:
        manifest: result of `index`, or the table that it wrote.
        encoder: a folder made by `export`, a pretraining run, a file of weights, a timm name (`hub:NAME`
            fetches it).
        out: file to write: `.parquet`; `.npy`, with the ids in `<stem>.ids.csv`; or `.csv`.
        level: `scan` is the mean of its slices' CLS tokens, `slice` one CLS token a row (column `slice`),
            `patch` one patch token a row (columns `slice`, `row`, `column`).
        every: take the first slice of a scan, and every so many after it (`slice`, `patch`).
        store: folder of prepared scans; scans that are not in it yet are added.
        strip_cmd: skull-stripping command, such as `hd-bet -i {in} -o {out}`. A command that only the store
            names is not run.
        cache: folder of the features; `features` inside the store if omitted.
        jobs: processes that prepare scans.
        batch_size: slices that go through the encoder at once.
        precision: `bfloat16` is faster on a GPU and has three significant digits.
        device: device that the encoder runs on.
        prepare: make the store if it does not exist, also where others lie near by.
        progress: False shows no progress bar.

    Returns:
        The file, its size, and the number of rejected scans.

    Raises:
        BraindinoError: an unknown suffix, encoder or device, a number that is too small, a level that the
            encoder does not have, no such store, or no usable scan.
    """
    out = Path(out)
    _check_arguments(out, level, every, batch_size)
    table = _scan_table(manifest)
    target = open_device(device)
    network, opened = open_encoder(encoder, Path(store), prepare, strip_cmd, progress)
    if network.dimensions == 3 and level != "scan":
        raise BraindinoError(f"--level {level}: {encoder} is a 3-D encoder, it has one vector per scan.")
    report = fill(opened, table, jobs=jobs, progress=progress)
    opened.refresh()
    stored = pd.Series([opened.key_of(path) for path in table["path"]], dtype=object)
    ids, keys = table[stored.notna()].reset_index(drop=True), stored.dropna().tolist()
    if not keys:
        name = "the manifest" if isinstance(manifest, Manifest) else manifest
        raise BraindinoError(f"{name}: none of its scans can be used; see {report.rejects}.")
    features = extract(
        network,
        opened,
        keys,
        cache or opened.path / "features",
        batch_size=batch_size,
        precision=precision,
        device=target,
        progress=progress,
        level="patch" if level == "patch" else "slice",
    )
    rows = _write_rows(out, network, opened, ids, keys, features, level, every, progress)
    facts = {
        "braindino": __version__,
        "encoder": encoder,
        "encoder_digest": network.digest,
        "preprocessing": network.preprocessing.to_dict(),
        "level": level,
        "every": every,
        "precision": precision,
        "rows": rows,
        "features": network.embed_dim,
        "scans": len(keys),
    }
    write_json(out.with_name(f"{out.name}.json"), facts)
    return Embedding(out, rows, network.embed_dim, len(keys), len(table) - len(keys), report.rejects)


def _scan_table(manifest: Manifest | Path | str) -> pd.DataFrame:
    """Return the rows of the scans of a manifest, without its masks."""
    table = (manifest if isinstance(manifest, Manifest) else Manifest.read(Path(manifest))).table
    return table[table["modality"] != MASK].reset_index(drop=True)


def _check_arguments(out: Path, level: RowLevel, every: int, batch_size: int) -> None:
    """Raise BraindinoError for arguments that do not fit together."""
    check_suffix(out)
    check_at_least_one(every=every, batch_size=batch_size)
    if every > 1 and level == "scan":
        raise BraindinoError("--every chooses slices or patches; with --level scan all slices count.")


def _write_rows(
    out: Path,
    network: Encoder,
    store: Store,
    ids: pd.DataFrame,
    keys: list[str],
    features: Features,
    level: RowLevel,
    every: int,
    progress: bool,
) -> int:
    """Write the rows of all scans, and return their number.

    Args:
        out: file to write.
        network: encoder, whose contract gives the grid of patches.
        store: has the depth of each scan.
        ids: a row per scan.
        keys: keys of these scans; copies of a scan have the same key.
        features: features by key.
        level: level of the rows.
        every: take every so many slices.
        progress: show on stderr how many scans are written.
    """
    depths = store.index().drop_duplicates("key").set_index("key")["depth"].loc[keys]
    per_scan = [len(range(0, depth, every)) if level != "scan" else 1 for depth in depths]
    grid = patch_grid(network) if level == "patch" else (1, 1)
    rows = sum(per_scan) * grid[0] * grid[1]

    def parts() -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
        for i, key in enumerate(track(keys, len(keys), "write", progress)):
            yield scan_rows(ids.iloc[[i]], features[key].float().numpy(), level, every, grid)

    with embedding_writer(out, rows, network.embed_dim) as write:
        for part_ids, part_features in join_rows(parts()):
            write(part_ids, part_features)
    return rows
