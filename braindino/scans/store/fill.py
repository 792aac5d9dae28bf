"""Prepare the scans of a table into a store: resumable, in several processes or jobs."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from braindino.errors import BraindinoError
from braindino.files import can_write
from braindino.progress import track
from braindino.scans.reading import MAX_VOXELS
from braindino.scans.skull_stripping import check_consent
from braindino.scans.store.ledger import SCAN_IDENTITY
from braindino.scans.store.origins import ORIGIN, refuse_one_name_for_two
from braindino.scans.store.planning import plan_fill, record_amendments
from braindino.scans.store.pool import prepare_all
from braindino.scans.store.store import Store, absolute
from braindino.scans.store.worker import Task, WorkerOptions


@dataclass(frozen=True)
class FillReport:
    """Count what a fill did with its scans.

    Attributes:
        prepared: scans prepared in this run.
        present: scans that the store had already, which were not read.
        rejected: scans rejected in this run or an earlier one.
        rejects: table of the rejected scans with their reasons.
    """

    prepared: int
    present: int
    rejected: int
    rejects: Path


def fill(
    store: Store,
    rows: pd.DataFrame,
    jobs: int = 1,
    shard: tuple[int, int] = (0, 1),
    progress: bool = True,
    retry_rejects: bool = False,
    max_voxels: int = MAX_VOXELS,
) -> FillReport:
    """Prepare the scans in `rows` that the store does not have yet.

    A fill may be interrupted or killed at any time, and the next call continues: scans that are prepared, or
    rejected and unchanged since, are not read again. A scan during which a process died is read again in a
    separate process, after all other scans; if that process dies too, the next call rejects the scan. A store
    that has all scans is not written to.

    Args:
        store: the store.
        rows: table with a column `path` and optionally dataset, subject, session, modality and group. A
            repeated path counts once.
        jobs: number of parallel processes.
        shard: (i, n) to prepare every n-th scan from the i-th on, counted from 0, as one of n jobs.
        progress: show a bar, or lines if the output goes to a file.
        retry_rejects: read rejected scans again.
        max_voxels: scans with more voxels are rejected.

    Returns:
        The numbers of prepared, present and rejected scans.

    Raises:
        BraindinoError: the store has a skull-stripping command that the user did not give (`Store.open`), is
            read-only and lacks some of the scans, or would merge people of two tables of the same name.
        OSError: the disk is full.
    """
    if not 0 <= shard[0] < shard[1]:
        raise BraindinoError(f"shard {shard[0]}/{shard[1]}: expected i/n with i from 0 to n - 1")
    if jobs < 1:
        raise BraindinoError(f"jobs is {jobs}, expected 1 or more")
    store.refresh()
    store.layout.remove_leftovers()
    tasks = _tasks(rows)
    refuse_one_name_for_two(tasks, store.records)
    plan = plan_fill(store, tasks[shard[0] :: shard[1]], retry_rejects, max_voxels)
    options = WorkerOptions(lag=store.history.lag, max_voxels=max_voxels)
    record_amendments(store, plan, options)
    prepared, rejected = 0, len(plan.rejected)
    if plan.todo:
        check_consent(store.path, store.strip_cmd, store.may_strip, len(plan.todo))
        if not can_write(store.layout.ledger):
            raise BraindinoError(
                f"{store.path}: read-only, and {len(plan.todo)} scans are not in it; the first is "
                f"{plan.todo[0].path}.\nAsk its owner to prepare them, or use a different store."
            )
    try:
        records = prepare_all(store.layout, plan.todo, jobs, options)
        for record in track(records, len(plan.todo), "prepare", progress):
            prepared += "key" in record
            rejected += "reason" in record
    finally:
        store.write_tables()
    return FillReport(prepared, plan.present, rejected, store.path / "rejects.csv")


def _tasks(rows: pd.DataFrame) -> list[Task]:
    """Return absolute path and identity of each distinct file, in the order of the rows."""
    if "path" not in rows.columns:
        raise BraindinoError(f"rows to prepare need a column `path`; there are {', '.join(rows.columns)}")
    names = (*SCAN_IDENTITY, ORIGIN)
    given = {name: rows[name] if name in rows.columns else [""] * len(rows) for name in names}
    tasks: dict[str, dict[str, str]] = {}
    for path, *values in zip(rows["path"], *given.values(), strict=True):
        identity = {n: "" if pd.isna(v) else str(v) for n, v in zip(names, values, strict=True)}
        tasks.setdefault(absolute(path), identity)
    return [Task(path, identity) for path, identity in tasks.items()]
