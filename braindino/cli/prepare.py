"""`braindino prepare`: put the scans of a manifest into a store."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from braindino.errors import BraindinoError

if TYPE_CHECKING:
    from braindino.scans.store import Store


def prepare(
    manifest: Path,
    store: Path = Path("store"),
    jobs: int = 1,
    contract: Literal["paper", "released-code", "minmax"] | None = None,
    depth: int | Literal["none"] | None = None,
    size: int | tuple[int, int] | None = None,
    dtype: Literal["uint8", "float16"] | None = None,
    shard: str | None = None,
    strip_cmd: str | None = None,
    retry_rejects: bool = False,
) -> int:
    """Preprocess the scans of a manifest into a store.

    Can be interrupted at any time: the same command again goes on and reads nothing that is done. What cannot
    be used is listed with its reason in rejects.csv of the store, and makes the exit code 1.

    Args:
        manifest: the table that `braindino index` wrote.
        store: the folder of the store; made if it is not there.
        jobs: processes that work side by side.
        contract: how scans are prepared; by default as the store has it, or `paper` for a new store.
        depth: number of slices, or `none` to keep those a scan has.
        size: side of a slice in pixels, or `[rows, columns]`.
        dtype: how slices are stored.
        shard: `i/n`, to do the i-th of n parts (i from 0 to n - 1), as one of n jobs that fill one store.
        strip_cmd: skull-stripping command run on each scan, such as `hd-bet -i {in} -o {out}`.
        retry_rejects: read again what was rejected before.

    Returns:
        0 when every scan is in the store, 1 when some were rejected, 130 when interrupted.
    """
    from braindino.datasets.manifest import MASK, Manifest
    from braindino.scans.store import fill

    part = _shard(shard)
    table = Manifest.read(manifest).table
    table = table[table["modality"] != MASK]  # a mask is no image
    changes: dict[str, Any] = {}
    if depth is not None:
        changes["depth"] = None if depth == "none" else depth
    if size is not None:
        changes["size"] = (size, size) if isinstance(size, int) else size
    if dtype is not None:
        changes["dtype"] = dtype
    target = _open(store, contract, changes, strip_cmd)
    try:
        report = fill(target, table, jobs=jobs, shard=part, retry_rejects=retry_rejects)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command again continues, nothing is done twice", file=sys.stderr)
        return 130
    counts = f"prepared {report.prepared}, already there {report.present}, rejected {report.rejected}"
    print(f"{counts}: {target.path}")
    if report.rejected:
        print(f"why they were rejected: {report.rejects}")
    return 1 if report.rejected else 0


def _open(path: Path, contract: str | None, changes: dict[str, Any], strip_cmd: str | None) -> "Store":
    """The store as asked for; what is not asked for is as the store has it, if there is one."""
    from braindino.scans.preprocessing import Preprocessing
    from braindino.scans.store import Store
    from braindino.scans.stripping import check_strip_cmd

    if strip_cmd is not None:
        check_strip_cmd(strip_cmd)
    if not (path / "contract.json").is_file():
        return Store.create(path, Preprocessing.preset(contract or "paper", **changes), strip_cmd)
    there = Store.open(path)
    wanted = (
        there.contract.replace(**changes) if contract is None else Preprocessing.preset(contract, **changes)
    )
    return Store.create(path, wanted, there.strip_cmd if strip_cmd is None else strip_cmd)


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise BraindinoError(f"--shard {text}: expected i/n with i from 0 to n - 1, such as 0/4")
    return int(match[1]), int(match[2])
