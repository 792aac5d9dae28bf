"""Prepare the scans of a table into a store: resumable, in several processes or jobs."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from braindino.errors import BraindinoError
from braindino.files import can_write
from braindino.progress import track
from braindino.scans.reading import MAX_VOXELS
from braindino.scans.skull_stripping import check_consent
from braindino.scans.store.origins import ORIGIN, refuse_one_name_for_two
from braindino.scans.store.planning import plan_fill, record_amendments
from braindino.scans.store.pool import prepare_all
from braindino.scans.store.store import IDENTITY, Store, absolute
from braindino.scans.store.worker import Task, WorkerOptions


@dataclass(frozen=True)
class FillReport:
    """What a fill did with the scans it was given."""

    prepared: int  # in this run
    present: int  # already there, not read
    rejected: int  # in this run or in an earlier one
    rejects: Path  # the table with their reasons


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

    Interrupting or killing it at any time is safe, and the next call goes on: what is done, and what was
    rejected and has not changed since, is not read again. A scan during which a process died is read again
    in a process of its own, after all others; if that ends this process too, the next call rejects it. A
    store that has everything is not written to.

    Args:
        store: the store.
        rows: a column `path`, and of dataset, subject, session, modality, group those that exist. A path that
            comes twice counts once.
        jobs: processes that work side by side.
        shard: (i, n), to take every n-th scan from the i-th on, counted from 0, as one of n jobs that
            together do all.
        progress: show a bar, or lines where output goes to a file.
        retry_rejects: read again what was rejected.
        max_voxels: scans of more voxels are rejected.

    Raises:
        BraindinoError: the store has a skull-stripping command that the user did not give (`Store.open`), it
            is read-only and lacks some of the scans, or people of two tables of one name would become one.
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
                f"{plan.todo[0].path}.\nAsk its owner to prepare them, or give a store of your own."
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
    """Absolute path and identity of each distinct file, in the order of the rows."""
    if "path" not in rows.columns:
        raise BraindinoError(f"rows to prepare need a column `path`; there are {', '.join(rows.columns)}")
    names = (*IDENTITY, ORIGIN)
    given = {name: rows[name] if name in rows.columns else [""] * len(rows) for name in names}
    tasks: dict[str, dict[str, str]] = {}
    for path, *values in zip(rows["path"], *given.values(), strict=True):
        identity = {n: "" if pd.isna(v) else str(v) for n, v in zip(names, values, strict=True)}
        tasks.setdefault(absolute(path), identity)
    return [Task(path, identity) for path, identity in tasks.items()]
