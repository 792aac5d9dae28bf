"""Plan a fill: decide for each scan to prepare it, to correct its record, or to do nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from braindino.files import is_read_only
from braindino.scans.reading import Signature, signature
from braindino.scans.store.ledger import Record
from braindino.scans.store.store import Store
from braindino.scans.store.worker import Task, Worker, WorkerOptions

MAX_ATTEMPTS = 2  # the second is in a separate process


@dataclass
class FillPlan:
    """List what a fill has to do with its scans.

    Attributes:
        todo: scans to prepare.
        rejected: scans that stay rejected: (task, True if the rejection is not in the ledger yet).
        amendments: records of prepared scans, each with the columns to correct.
        present: number of scans that are prepared already.
    """

    todo: list[Task] = field(default_factory=list)
    rejected: list[tuple[Task, bool]] = field(default_factory=list)
    amendments: list[tuple[Record, Record]] = field(default_factory=list)
    present: int = 0


def plan_fill(store: Store, tasks: Sequence[Task], retry_rejects: bool, max_voxels: int) -> FillPlan:
    """Sort scans by their records in the ledger; files are read only if the records leave doubt."""
    plan = FillPlan()
    for task in tasks:
        record, attempt = store.records.get(task.path), store.history.attempts.get(task.path)
        if attempt is not None and Signature.of_record(attempt) == signature(task.path):
            _plan_attempted(plan, task, attempt["attempts"], retry_rejects)
        elif record is None:
            plan.todo.append(task)
        elif "reason" in record:
            _plan_rejected(plan, task, record, retry_rejects, max_voxels)
        elif store.history.is_unchanged(record) and store.layout.holds(record["key"], record["depth"]):
            plan.present += 1
            changes: Record = {**_identity(task, record), **signature(task.path)._asdict()}
            if any(record.get(name, "") != value for name, value in changes.items()):
                plan.amendments.append((record, changes))
        else:
            plan.todo.append(task)
    return plan


def _identity(task: Task, record: Record) -> dict[str, str]:
    """Return the columns to record; a scan given without its person keeps those of its record.

    Scan files that are given without a manifest, as to `predict` and `maps`, may be training scans. If their
    records lost the person, pretraining could no longer split or exclude by people.
    """
    is_blank = bool(record.get("group")) and not task.identity.get("group")
    return {} if is_blank else task.identity


def record_amendments(store: Store, plan: FillPlan, options: WorkerOptions) -> None:
    """Write corrections and new rejections to the ledger, unless the store is read-only."""
    worker = Worker(store.layout, options)
    try:
        for record, changes in plan.amendments:
            worker.amend(record, changes)
        for task, is_new in plan.rejected:
            if is_new:
                worker.reject(task, lasting=True)
    except OSError as error:
        if not is_read_only(error):
            raise
    finally:
        worker.close()


def _plan_attempted(plan: FillPlan, task: Task, attempts: int, retry_rejects: bool) -> None:
    if attempts >= MAX_ATTEMPTS and not retry_rejects:
        plan.rejected.append((task, True))
    else:
        plan.todo.append(task._replace(attempts=min(attempts, 1)))


def _plan_rejected(plan: FillPlan, task: Task, record: Record, retry_rejects: bool, max_voxels: int) -> None:
    fits_now = 0 < record.get("voxels", 0) <= max_voxels
    same_file = Signature.of_record(record) == signature(task.path)
    if same_file and record["lasting"] and not retry_rejects and not fits_now:
        plan.rejected.append((task, False))
    else:
        plan.todo.append(task._replace(attempts=int(same_file and record.get("died", False))))
