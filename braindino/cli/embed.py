"""`braindino embed`: the features of every scan of a manifest as a table for other tools."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from braindino.errors import BraindinoError
from braindino.verbs.opening import Device

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from braindino.encoders.base import Encoder

ROWS_AT_ONCE = 4096


def embed(
    manifest: Path,
    *,
    encoder: str,
    out: Path,
    level: Literal["scan", "slice", "patch"] = "scan",
    every: int = 1,
    store: Path = Path("store"),
    strip_cmd: str | None = None,
    cache: Path | None = None,
    jobs: int = 1,
    batch_size: int = 128,
    precision: Literal["float32", "bfloat16"] = "float32",
    device: Device = "auto",
    prepare: bool = False,
) -> int:
    """Write the features of a manifest's scans, one row per scan, slice or patch, beside its own columns.

    Scans are prepared into the store, and features kept in its cache: nothing is computed twice, and the
    same command again goes on where it was interrupted. `<out>.json` tells encoder and contract.

    Args:
        manifest: the table that `braindino index` wrote.
        encoder: a folder made by `braindino export`, a pretraining run, a file of weights, a timm name
            (`hub:NAME` fetches it).
        out: file to write: `.parquet`; `.npy`, with the ids in `<stem>.ids.csv`; or `.csv`.
        level: `scan` is the mean of its slices' CLS tokens, `slice` one CLS token a row (column `slice`),
            `patch` one patch token a row (columns `slice`, `row`, `column`).
        every: of a scan's slices take the first and every so many after it (`slice`, `patch`).
        strip_cmd: skull-stripping command, such as `hd-bet -i {in} -o {out}`. One that only the store names
            is not run.
        store: folder of prepared scans; scans that are not in it yet are added.
        prepare: make the store if it does not exist, also where others lie near by.
        cache: folder of the features; `features` inside the store if omitted.
        jobs: processes that prepare scans.
        batch_size: slices that go through the encoder at once.
        precision: `bfloat16` is faster on a GPU and has three significant digits.
        device: where the encoder runs.

    Returns:
        0, or 1 when some scans could not be prepared: they are not in the file.
    """
    import pandas as pd

    from braindino.datasets.manifest import MASK, Manifest
    from braindino.encoders.embedding_files import check_suffix, embedding_writer
    from braindino.encoders.features import extract
    from braindino.files import write_json
    from braindino.progress import track
    from braindino.scans.store.fill import fill
    from braindino.verbs.opening import open_device, open_encoder
    from braindino.version import __version__

    check_suffix(out)
    for name, value in (("every", every), ("batch-size", batch_size)):
        if value < 1:
            raise BraindinoError(f"--{name} {value}: expected 1 or more.")
    if every > 1 and level == "scan":
        raise BraindinoError("--every chooses slices or patches; with --level scan all slices count.")
    table = Manifest.read(manifest).table
    table = table[table["modality"] != MASK].reset_index(drop=True)
    target = open_device(device)
    network, there = open_encoder(encoder, store, prepare, strip_cmd)
    if network.dimensions == 3 and level != "scan":
        raise BraindinoError(f"--level {level}: {encoder} is a 3-D encoder, it has one vector per scan.")
    report = fill(there, table, jobs=jobs)
    there.refresh()
    found = pd.Series([there.key_of(path) or "" for path in table["path"]], dtype=object)
    ids, keys = table[found != ""].reset_index(drop=True), found[found != ""].tolist()
    if not keys:
        raise BraindinoError(f"{manifest}: none of its scans can be used; see {report.rejects}.")
    features = extract(
        network, there, keys, cache or there.path / "features", batch_size=batch_size, precision=precision,
        device=target, progress=True, level="patch" if level == "patch" else "slice",
    )  # fmt: skip
    depths = there.index().drop_duplicates("key").set_index("key")["depth"].loc[keys]
    per_scan = [len(range(0, depth, every)) if level != "scan" else 1 for depth in depths]
    grid = _grid(network) if level == "patch" else (1, 1)
    rows = sum(per_scan) * grid[0] * grid[1]
    with embedding_writer(out, rows, network.embed_dim) as write:
        parts = (
            _rows(ids.iloc[[i]], features[key].float().numpy(), level, every, grid)
            for i, key in enumerate(track(keys, len(keys), "write"))
        )
        for some_ids, values in _joined(parts):
            write(some_ids, values)
    write_json(
        out.with_name(f"{out.name}.json"),
        {
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
        },
    )
    print(f"{out}: {rows} rows of {network.embed_dim} features, {len(keys)} scans")
    lost = int((found == "").sum())
    if lost:
        print(f"{lost} scans were rejected, they are not in the file: {report.rejects}")
    return 1 if lost else 0


def _grid(encoder: "Encoder") -> tuple[int, int]:
    from braindino.encoders.cache import patch_grid

    return patch_grid(encoder)


def _rows(
    scan: "pd.DataFrame", values: "np.ndarray", level: str, every: int, grid: tuple[int, int]
) -> "tuple[pd.DataFrame, np.ndarray]":
    """Ids and features of one scan, from its (D, width)."""
    import numpy as np

    if level == "scan":
        return scan, values.mean(axis=0, dtype=np.float64, keepdims=True).astype(np.float32)
    slices = np.arange(0, len(values), every)
    cells = grid[0] * grid[1]
    ids = scan.loc[scan.index.repeat(len(slices) * cells)].reset_index(drop=True)
    ids["slice"] = np.repeat(slices, cells)
    if level == "patch":
        ids["row"] = np.tile(np.repeat(np.arange(grid[0]), grid[1]), len(slices))
        ids["column"] = np.tile(np.arange(grid[1]), len(slices) * grid[0])
    return ids, values[slices].reshape(len(ids), -1)


def _joined(
    parts: "Iterator[tuple[pd.DataFrame, np.ndarray]]",
) -> "Iterator[tuple[pd.DataFrame, np.ndarray]]":
    """The same rows, some thousand at a time: few row groups are read faster."""
    import numpy as np
    import pandas as pd

    ids: list[pd.DataFrame] = []
    values: list[np.ndarray] = []
    for some_ids, some_values in parts:
        ids.append(some_ids)
        values.append(some_values)
        if sum(map(len, ids)) >= ROWS_AT_ONCE:
            yield pd.concat(ids, ignore_index=True), np.concatenate(values)
            ids, values = [], []
    if ids:
        yield pd.concat(ids, ignore_index=True), np.concatenate(values)
