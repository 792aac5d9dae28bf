"""The verb `prepare`: put the scans of a manifest into a store."""

import re
import sys
from pathlib import Path
from typing import Any, Literal

from braindino.errors import BraindinoError


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

    An interrupted run loses nothing: the same command continues, and reads no scan twice. Scans that cannot
    be used are listed with their reasons in rejects.csv of the store, and make the exit code 1. Masks are not
    prepared; each is compared with its scan.

    Args:
        manifest: the table that `braindino index` wrote.
        store: the folder of the store; created if it does not exist.
        jobs: number of parallel processes.
        contract: how scans are prepared; by default that of the store, or `paper` for a new store; `volume`
            is for 3-D networks.
        depth: number of slices, or `none` for the number that a scan has.
        size: side of a slice in pixels, or `[rows, columns]`.
        spacing: voxel size in mm in every direction, with cropping or padding to depth and size about the
            centre that the contract defines; or `none` to resample the field of view to depth and size.
        dtype: how slices are stored.
        shard: `i/n`, to do the i-th of n parts (i from 0 to n - 1), as one of n jobs that fill one store.
        strip_cmd: skull-stripping command run on each scan, such as `hd-bet -i {in} -o {out}`. Repeat it for
            a store that has one: a command that is recorded in the store only is not run.
        retry_rejects: read rejected scans again.
        max_voxels: scans of more voxels are rejected before they are read. One of the default size takes 5 GB
            in each job; a scan that ends its process is rejected too, and the same command continues.
        submit: number of SLURM jobs to submit with submitit; the command then returns. Without SLURM they are
            local processes.
        cluster: options of the jobs, as `{slurm_partition: cpu, timeout_min: 600}`; by default a job may take
            a day.

    Returns:
        0 when every scan is in the store or all jobs are submitted, 1 when some scans were rejected, 130 when
        interrupted.
    """
    from braindino.verbs.prepare import prepare as run

    if shard is not None and submit is not None:
        raise BraindinoError("--submit divides the work itself; remove --shard.")
    try:
        report = run(
            manifest,
            store,
            jobs=jobs,
            contract=contract,
            depth=depth,
            size=size,
            spacing=spacing,
            dtype=dtype,
            shard=_parse_shard(shard),
            strip_cmd=strip_cmd,
            retry_rejects=retry_rejects,
            max_voxels=max_voxels,
            submit=submit,
            cluster=cluster,
        )
    except KeyboardInterrupt:
        print("\ninterrupted: the same command again continues, nothing is done twice", file=sys.stderr)
        return 130
    if submit is not None:
        print(f"submitted {', '.join(report.submitted)}; logs: {report.store.path / 'submitted'}/<job>/")
        return 0
    print(report.summary())
    return 1 if report.rejected or report.rejected_masks else 0


def _parse_shard(text: str | None) -> tuple[int, int]:
    """Return (i, n) of `i/n`; (0, 1) for None."""
    if text is None:
        return 0, 1
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise BraindinoError(f"--shard {text}: expected i/n with i from 0 to n - 1, such as 0/4")
    return int(match[1]), int(match[2])
