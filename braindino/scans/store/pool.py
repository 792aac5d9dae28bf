"""Many scans through worker processes, with a worker that dies costing one scan and not the run."""

import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from braindino.errors import BraindinoError
from braindino.scans.store.layout import StoreLayout
from braindino.scans.store.ledger import Record
from braindino.scans.store.worker import Task, Worker, WorkerOptions, prepare_in_worker, start_worker

# Then fresh ones: memory stays bounded whatever a library leaks. Not by the pool's max_tasks_per_child, which
# can leave the last tasks without a process (CPython issue 115634).
TASKS_PER_PROCESS = 500


def prepare_all(
    layout: StoreLayout, tasks: Sequence[Task], jobs: int, options: WorkerOptions
) -> Iterator[Record]:
    """Prepare every task and yield its record, in the order in which they are done.

    One job runs in this process. More run in spawned processes, with two tasks per process on their way.
    Tasks that ended a process before come last, each in a process of its own.
    """
    worker = Worker(layout, options)
    try:
        yield from _prepare_sound(
            layout, worker, [task for task in tasks if not task.attempts], jobs, options
        )
        for task in tasks:
            if task.attempts:
                yield _prepare_alone(layout, worker, task, options)
    finally:
        worker.close()


def _prepare_sound(
    layout: StoreLayout, worker: Worker, tasks: Sequence[Task], jobs: int, options: WorkerOptions
) -> Iterator[Record]:
    """Prepare tasks of which nothing bad is known."""
    if jobs == 1 or len(tasks) <= 1:
        for task in tasks:
            yield worker.prepare(task)
        return
    waiting = list(reversed(tasks))
    started = False
    while waiting:
        batch = [waiting.pop() for _ in range(min(len(waiting), jobs * TASKS_PER_PROCESS))][::-1]
        with _pool(layout, min(jobs, len(batch)), options) as pool:
            if not started:
                _check_that_processes_start(pool)
                started = True
            suspects = yield from _drain(pool, batch, 2 * jobs)
        waiting += batch  # those that were not handed out when a process died
        for task in suspects:
            yield _prepare_alone(layout, worker, task._replace(attempts=1), options)


def _check_that_processes_start(pool: ProcessPoolExecutor) -> None:
    try:
        pool.submit(os.getpid).result()
    except BrokenProcessPool:
        raise BraindinoError(
            "no worker process could be started (its own message is above).\n"
            'A script that calls fill with several jobs must do so under `if __name__ == "__main__":`'
        ) from None


def _pool(layout: StoreLayout, processes: int, options: WorkerOptions) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(
        max_workers=processes,
        mp_context=get_context("spawn"),
        initializer=start_worker,
        initargs=(layout, options),
    )


def _drain(
    pool: ProcessPoolExecutor, waiting: list[Task], window: int
) -> Generator[Record, None, list[Task]]:
    """Yield records until nothing waits; return the tasks that were on their way when a process died."""
    flying: dict[Future[Record], Task] = {}
    try:
        while waiting or flying:
            while waiting and len(flying) < window:
                flying[pool.submit(prepare_in_worker, waiting[-1])] = waiting[-1]
                waiting.pop()
            done, _ = wait(flying, return_when=FIRST_COMPLETED)
            for future in done:
                record = future.result()
                del flying[future]
                yield record
    except BrokenProcessPool:
        return list(flying.values())
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return []


def _prepare_alone(layout: StoreLayout, worker: Worker, task: Task, options: WorkerOptions) -> Record:
    """Prepare a scan during which a process died, in a process of its own: only the guilty one is refused."""
    with _pool(layout, 1, options) as pool:
        try:
            return pool.submit(prepare_in_worker, task).result()
        except BrokenProcessPool:
            return worker.reject(task, lasting=False)
