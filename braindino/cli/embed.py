"""The verb `embed`: write the features of every scan of a manifest as a table."""

from pathlib import Path
from typing import Literal

from braindino.verbs.opening import Device


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
    """Write the features of a manifest's scans: a row per scan, slice or patch.

    The columns of the manifest come first. Scans are prepared into the store, and features are cached in it:
    nothing is computed twice, and the same command continues where it was interrupted. `<out>.json` lists
    encoder and contract.

    Args:
        manifest: the table that `braindino index` wrote.
        encoder: a folder made by `braindino export`, a pretraining run, a file of weights, a timm name
            (`hub:NAME` fetches it).
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

    Returns:
        0, or 1 when some scans could not be prepared: they are not in the file.
    """
    from braindino.verbs.embed import embed as write

    embedding = write(
        manifest,
        encoder,
        out,
        level=level,
        every=every,
        store=store,
        strip_cmd=strip_cmd,
        cache=cache,
        jobs=jobs,
        batch_size=batch_size,
        precision=precision,
        device=device,
        prepare=prepare,
    )
    print(f"{out}: {embedding.rows} rows of {embedding.features} features, {embedding.scans} scans")
    if embedding.rejected:
        print(f"{embedding.rejected} scans were rejected, they are not in the file: {embedding.rejects}")
        return 1
    return 0
