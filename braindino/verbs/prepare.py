"""Prepare the scans of a manifest into a store."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from braindino.datasets.checks.masks import check_masks
from braindino.datasets.manifest import MASK, Manifest
from braindino.errors import BraindinoError
from braindino.scans.contract import Preprocessing
from braindino.scans.reading import MAX_VOXELS
from braindino.scans.store.fill import fill
from braindino.scans.store.opening import open_or_create
from braindino.scans.store.store import Store
from braindino.verbs.opening import check_at_least_one


@dataclass(frozen=True)
class PrepareReport:
    """Result of preparing the scans of a manifest; all counts are 0 if jobs were submitted.

    Attributes:
        store: the store.
        prepared: number of scans prepared in this run.
        cached: number of scans that the store had already.
        rejected: number of scans that cannot be used, found in this run or earlier.
        masks: number of masks whose case has a scan in the store.
        rejected_masks: number of those masks that cannot be used.
        rejects: rejected scans and masks of the manifest, with the columns `path` and `reason`.
        submitted: ids of submitted jobs; their logs are in the store's folder `submitted`.
    """

    store: Store
    prepared: int
    cached: int
    rejected: int
    masks: int
    rejected_masks: int
    rejects: pd.DataFrame
    submitted: tuple[str, ...] = ()

    def summary(self) -> str:
        """Return the counts as one line, with a second line for rejects."""
        line = f"prepared {self.prepared}, already there {self.cached}, rejected {self.rejected}"
        if self.masks:
            line += f"; checked {self.masks} masks, rejected {self.rejected_masks}"
        line += f": {self.store.path}"
        if self.rejected or self.rejected_masks:
            line += f"\nreasons for rejects: {self.store.path / 'rejects.csv'}"
        return line


def prepare(
    manifest: Path | str,
    store: Path | str = "store",
    *,
    jobs: int = 1,
    contract: str | Preprocessing | None = None,
    depth: int | Literal["none"] | None = None,
    size: int | tuple[int, int] | None = None,
    spacing: float | Literal["none"] | None = None,
    dtype: Literal["uint8", "float16"] | None = None,
    shard: tuple[int, int] = (0, 1),
    strip_cmd: str | None = None,
    retry_rejects: bool = False,
    max_voxels: int = MAX_VOXELS,
    submit: int | None = None,
    cluster: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> PrepareReport:
    """Preprocess the scans of a manifest into a store.

    An interrupted call loses nothing: the same call continues, and reads no scan twice. Masks are not
    prepared; each is compared with its scan.

    Args:
        manifest: table from `index`.
        store: folder of the store; created if it does not exist.
        jobs: number of parallel processes.
        contract: a preset (`paper`, `released-code`, `minmax`, `volume`) or a contract; by default that of
            the store, or `paper` for a new store.
        depth: number of slices, or "none" for the number that a scan has.
        size: side of a slice in pixels, or (rows, columns).
        spacing: voxel size [mm] in every direction, with cropping or padding to depth and size; "none"
            resamples the field of view to depth and size.
        dtype: data type of stored slices.
        shard: (i, n) to prepare the i-th of n parts, counted from 0.
        strip_cmd: skull-stripping command for each scan, such as `hd-bet -i {in} -o {out}`; must be repeated
            for a store that has one.
        retry_rejects: read rejected scans again.
        max_voxels: scans with more voxels are rejected.
        submit: number of SLURM jobs to submit with submitit instead of working here; local processes without
            SLURM.
        cluster: options of submitit, such as `{"slurm_partition": "cpu", "timeout_min": 600}`; a job may
            take a day by default.
        progress: False shows no progress bar.

    Raises:
        BraindinoError: not a manifest, options that exclude each other, a store with a different contract, or
            a full disk.
    """
    _check_options(jobs, max_voxels, shard, submit, cluster)
    manifest = Path(manifest)
    table = Manifest.read(manifest).table
    target = open_or_create(Path(store), contract, depth, size, spacing, dtype, strip_cmd)
    if submit is not None:
        work = {
            "jobs": jobs,
            "strip_cmd": strip_cmd,
            "retry_rejects": retry_rejects,
            "max_voxels": max_voxels,
        }
        submitted = _submit(manifest, target, work, submit, cluster or {})
        return PrepareReport(target, 0, 0, 0, 0, 0, target.rejects()[["path", "reason"]][:0], submitted)
    try:
        images = table[table["modality"] != MASK]
        report = fill(target, images, jobs, shard, progress, retry_rejects, max_voxels)
        masks = check_masks(target, table, progress, retry_rejects)
    except OSError as error:
        raise BraindinoError(
            f"{error.filename or target.path}: {error.strerror or error}.\n"
            "Prepared scans are saved; with enough space, the same command continues."
        ) from error
    rejects = target.rejects()
    rejects = rejects.loc[rejects["path"].isin(table["path"]), ["path", "reason"]].reset_index(drop=True)
    counts = (report.prepared, report.present, report.rejected, masks.checked, masks.rejected)
    return PrepareReport(target, *counts, rejects)


def _check_options(
    jobs: int, max_voxels: int, shard: tuple[int, int], submit: int | None, cluster: Mapping[str, Any] | None
) -> None:
    """Raise BraindinoError for options that exclude each other, before a store is created."""
    if cluster is not None and submit is None:
        raise BraindinoError("--cluster has options of SLURM jobs; give --submit JOBS as well.")
    if submit is not None and shard != (0, 1):
        raise BraindinoError("--submit divides the work itself; remove --shard.")
    check_at_least_one(jobs=jobs, max_voxels=max_voxels)


def _submit(
    manifest: Path, store: Store, work: Mapping[str, Any], parts: int, cluster: Mapping[str, Any]
) -> tuple[str, ...]:
    """Submit `prepare` of shard i of `parts` for every i, and return the ids of the jobs."""
    try:
        import submitit
    except ImportError:
        raise BraindinoError("--submit needs submitit: `pip install 'braindino[cluster]'`.") from None
    if parts < 1:
        raise BraindinoError(f"--submit {parts}: expected 1 job or more")
    executor = submitit.AutoExecutor(folder=store.path / "submitted" / "%j")
    # By default submitit ends a job after five minutes, and a local one after two.
    options = {"name": "braindino-prepare", "cpus_per_task": work["jobs"], "timeout_min": 24 * 60}
    try:
        executor.update_parameters(**{**options, **cluster})
    except (NameError, TypeError, ValueError) as error:
        raise BraindinoError(f"--cluster: {error}") from None
    part = partial(_prepare_part, manifest.absolute(), store.path, dict(work))
    return tuple(str(job.job_id) for job in executor.map_array(part, [(i, parts) for i in range(parts)]))


def _prepare_part(manifest: Path, store: Path, work: dict[str, Any], shard: tuple[int, int]) -> int:
    """Prepare one shard in a submitted job; the printed summary is the log of the job.

    Returns:
        0, or 1 with rejects, as the exit code of the command.
    """
    report = prepare(manifest, store, shard=shard, **work)
    print(report.summary())
    return 1 if report.rejected or report.rejected_masks else 0
