"""`braindino prepare`: put the scans of a manifest into a store."""

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from braindino.errors import BraindinoError

if TYPE_CHECKING:
    from braindino.scans.store.store import Store


def prepare(
    manifest: Path,
    store: Path = Path("store"),
    jobs: int = 1,
    contract: Literal["paper", "released-code", "minmax", "volume"] | None = None,
    depth: int | Literal["none"] | None = None,
    size: int | tuple[int, int] | None = None,
    spacing: float | Literal["none"] | None = None,
    dtype: Literal["uint8", "float16"] | None = None,
    shard: str | None = None,
    strip_cmd: str | None = None,
    retry_rejects: bool = False,
    max_voxels: int = 2**28,
    submit: int | None = None,
    cluster: dict[str, Any] | None = None,
) -> int:
    """Preprocess the scans of a manifest into a store.

    Can be interrupted at any time: the same command again goes on and reads nothing that is done. What cannot
    be used is listed with its reason in rejects.csv of the store, and makes the exit code 1. Masks are not
    prepared, but each is read and held against its scan.

    Args:
        manifest: the table that `braindino index` wrote.
        store: the folder of the store; made if it is not there.
        jobs: processes that work side by side.
        contract: how scans are prepared; by default as the store has it, or `paper` for a new store; `volume`
            is for 3-D networks.
        depth: number of slices, or `none` to keep those a scan has.
        size: side of a slice in pixels, or `[rows, columns]`.
        spacing: voxels of so many mm in every direction, cropped or padded to depth and size about the centre
            that the contract names; or `none` to stretch the field of view over them.
        dtype: how slices are stored.
        shard: `i/n`, to do the i-th of n parts (i from 0 to n - 1), as one of n jobs that fill one store.
        strip_cmd: skull-stripping command run on each scan, such as `hd-bet -i {in} -o {out}`. To fill a
            store that has one, repeat it: a command that only the store names is not run.
        retry_rejects: read again what was rejected before.
        max_voxels: scans of more voxels are rejected before they are read. One of the default size takes 5 GB
            in each job; a scan that ends its process is rejected too, and the same command goes on.
        submit: hand the work to SLURM by submitit, divided among so many jobs, and return; where there is no
            SLURM they run on this machine.
        cluster: what SLURM has to be told, as `{slurm_partition: cpu, timeout_min: 600}`; a job may take a
            day if nothing is said.

    Returns:
        0 when every scan is in the store or all jobs are submitted, 1 when some scans were rejected, 130 when
        interrupted.
    """
    from braindino.datasets.checks.masks import check_masks
    from braindino.datasets.manifest import MASK, Manifest
    from braindino.scans.store.fill import fill

    _check_options(jobs, max_voxels, shard, submit, cluster)
    part = _shard(shard)
    table = Manifest.read(manifest).table
    images = table[table["modality"] != MASK]  # a mask is no image
    target = _open(store, contract, _changes(depth, size, spacing, dtype), strip_cmd)
    work: dict[str, Any] = {"jobs": jobs, "retry_rejects": retry_rejects, "max_voxels": max_voxels}
    if submit is not None:
        return _submit(Path(manifest), target, work, submit, cluster or {}, strip_cmd)
    try:
        report = fill(target, images, shard=part, **work)
        masks, bad_masks = check_masks(target, table, retry_rejects=retry_rejects)
    except OSError as error:
        raise BraindinoError(
            f"{error.filename or target.path}: {error.strerror or error}.\n"
            "What is prepared stays; when there is room again, the same command goes on."
        ) from error
    except KeyboardInterrupt:
        print("\ninterrupted: the same command again continues, nothing is done twice", file=sys.stderr)
        return 130
    counts = f"prepared {report.prepared}, already there {report.present}, rejected {report.rejected}"
    if masks:
        counts += f"; checked {masks} masks, rejected {bad_masks}"
    print(f"{counts}: {target.path}")
    if report.rejected or bad_masks:
        print(f"why they were rejected: {report.rejects}")
    return 1 if report.rejected or bad_masks else 0


def _check_options(
    jobs: int, max_voxels: int, shard: str | None, submit: int | None, cluster: dict[str, Any] | None
) -> None:
    """Refuse options that do not go together, before a store is made that would keep a wrong contract."""
    if cluster is not None and submit is None:
        raise BraindinoError("--cluster is what SLURM has to be told; give --submit JOBS as well.")
    if submit is not None and shard is not None:
        raise BraindinoError("--submit divides the work itself; leave --shard out.")
    if jobs < 1:
        raise BraindinoError(f"jobs is {jobs}, expected 1 or more")
    if max_voxels < 1:
        raise BraindinoError(f"--max-voxels is {max_voxels}, expected 1 or more")


def _changes(
    depth: int | str | None,
    size: int | tuple[int, int] | None,
    spacing: float | str | None,
    dtype: str | None,
) -> dict[str, Any]:
    """Return the fields of a contract that were given."""
    changes: dict[str, Any] = {}
    if depth is not None:
        changes["depth"] = None if depth == "none" else depth
    if size is not None:
        changes["size"] = (size, size) if isinstance(size, int) else size
    if spacing is not None:
        changes["spacing"] = None if spacing == "none" else spacing
    if dtype is not None:
        changes["dtype"] = dtype
    return changes


def _open(path: Path, contract: str | None, changes: dict[str, Any], strip_cmd: str | None) -> "Store":
    """The store as asked for; what is not asked for is as the store has it, if there is one."""
    from braindino.scans.contract import Preprocessing
    from braindino.scans.skull_stripping import check_strip_cmd
    from braindino.scans.store.store import Store

    if strip_cmd is not None:
        check_strip_cmd(strip_cmd)
    if not (path / "contract.json").is_file():
        return Store.create(path, Preprocessing.preset(contract or "paper", **changes), strip_cmd)
    there = Store.open(path)
    wanted = (
        there.contract.replace(**changes) if contract is None else Preprocessing.preset(contract, **changes)
    )
    return Store.create(path, wanted, strip_cmd)


def _submit(
    manifest: Path,
    store: "Store",
    work: dict[str, Any],
    parts: int,
    cluster: dict[str, Any],
    strip_cmd: str | None,
) -> int:
    """Submit `prepare --shard i/parts` for every i; the store, with its contract, is there already."""
    try:
        import submitit
    except ImportError:
        raise BraindinoError("--submit needs submitit: `pip install 'braindino[cluster]'`.") from None
    if parts < 1:
        raise BraindinoError(f"--submit {parts}: expected 1 job or more")
    logs = store.path / "submitted"
    executor = submitit.AutoExecutor(folder=logs / "%j")
    try:
        # By itself submitit would end a job after five minutes, on this machine after two.
        own = {"name": "braindino-prepare", "cpus_per_task": work["jobs"], "timeout_min": 24 * 60}
        executor.update_parameters(**{**own, **cluster})
    except (NameError, TypeError, ValueError) as error:
        raise BraindinoError(f"--cluster: {error}") from None
    part = partial(_part, manifest.absolute(), store.path, {**work, "strip_cmd": strip_cmd})
    submitted = executor.map_array(part, [f"{i}/{parts}" for i in range(parts)])
    print(f"submitted {', '.join(job.job_id for job in submitted)}; what they say: {logs}/<job>/")
    return 0


def _part(manifest: Path, store: Path, work: dict[str, Any], shard: str) -> int:
    """What a submitted job does; what it prints is its log."""
    return prepare(manifest, store, shard=shard, **work)


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise BraindinoError(f"--shard {text}: expected i/n with i from 0 to n - 1, such as 0/4")
    return int(match[1]), int(match[2])
