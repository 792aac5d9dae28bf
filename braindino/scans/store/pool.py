"""Prepare many scans in worker processes; a worker that dies costs one scan, not the run."""

import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from braindino.errors import BraindinoError
from braindino.scans.store.layout import StoreLayout
from braindino.scans.store.ledger import Record
from braindino.scans.store.worker import Task, Worker, WorkerOptions, prepare_in_worker, start_worker

# Processes are replaced after this many tasks, so that leaks of libraries stay bounded. The pool's own
# max_tasks_per_child can leave the last tasks without a process (CPython issue 115634).
TASKS_PER_PROCESS = 500


def prepare_all(
    layout: StoreLayout, tasks: Sequence[Task], jobs: int, options: WorkerOptions
) -> Iterator[Record]:
    """Prepare every task and yield its record, in order of completion.

    One job runs in this process. Several jobs run in spawned processes, with two tasks per process in flight.
    Tasks during which a process died before come last, each in a separate process.
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
    """Prepare tasks during which no process has died."""
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
        waiting += batch  # tasks that were not submitted when a process died
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
    """Yield all records; return the tasks that were in flight when a process died."""
    in_flight: dict[Future[Record], Task] = {}
    try:
        while waiting or in_flight:
            while waiting and len(in_flight) < window:
                in_flight[pool.submit(prepare_in_worker, waiting[-1])] = waiting[-1]
                waiting.pop()
            done, _ = wait(in_flight, return_when=FIRST_COMPLETED)
            for future in done:
                record = future.result()
                del in_flight[future]
                yield record
    except BrokenProcessPool:
        return list(in_flight.values())
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return []


def _prepare_alone(layout: StoreLayout, worker: Worker, task: Task, options: WorkerOptions) -> Record:
    """Prepare a suspect scan in a separate process, and reject it if that dies too."""
    with _pool(layout, 1, options) as pool:
        try:
            return pool.submit(prepare_in_worker, task).result()
        except BrokenProcessPool:
            return worker.reject(task, lasting=False)
