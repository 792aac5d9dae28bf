"""Load batches in worker processes; fail if memory is short or a worker dies or hangs."""

import atexit
import copy
import multiprocessing.queues
import os
import shutil
import signal
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from braindino.errors import BraindinoError

SHARED = Path("/dev/shm")  # workers pass their batches through it
TIMEOUT = 900.0  # seconds without a batch after which a worker counts as hanging
AHEAD = 2  # batches that each worker prepares in advance, torch's default
SPARE = 2**16  # bytes: queues and rounding
LARGE_BATCH = 2**30  # bytes; if batches of this size fit, the size is not measured
_LOADERS: "weakref.WeakSet[Loader]" = weakref.WeakSet()  # those with workers
_PAGE = 4096
_FAILURES = ("DataLoader timed out", "DataLoader worker", "shared memory", "ancdata")


def worker_options(workers: int) -> dict[str, Any]:
    """Return the arguments of a `Loader` that depend on its number of worker processes."""
    return {
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "worker_init_fn": init_worker,
        "timeout": TIMEOUT if workers > 0 else 0,
        "pin_memory": torch.cuda.is_available(),
    }


class Loader(DataLoader[Any]):
    """A DataLoader that raises a readable error instead of waiting forever for its workers."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Yield the batches.

        Raises:
            BraindinoError: the shared memory is too small for the workers' batches, a worker died, or none
                returned a batch for `TIMEOUT` seconds.
        """
        if self.num_workers and getattr(self, "_iterator", None) is None:
            self._check_memory()
            _LOADERS.add(self)
        try:
            yield from super().__iter__()
        except RuntimeError as error:
            readable = worker_error(error) if self.num_workers else None
            if readable is None:
                raise
            raise readable from error

    def _check_memory(self) -> None:
        """Raise BraindinoError if the workers' batches do not fit into the free shared memory."""
        if not SHARED.is_dir():
            return
        free = shutil.disk_usage(SHARED).free
        ahead = self.num_workers * (self.prefetch_factor or AHEAD) + 1
        if free > SPARE + ahead * LARGE_BATCH:
            return
        batch = self._one_batch()
        needed = SPARE + ahead * shared_size(batch)
        if needed > free:
            raise BraindinoError(
                f"data.num_workers {self.num_workers}: the processes that load batches need {_mb(needed)} of "
                f"shared memory, and {_mb(free)} are free in {SHARED}.\n"
                "Give the container more (docker run --shm-size=8g), or load in this process with "
                "--data.num_workers 0."
            )

    def _one_batch(self) -> Any:
        """Return a batch, loaded in this process."""
        sampler = copy.copy(self._index_sampler)
        # The state of the original generator must not change.
        if hasattr(sampler, "random"):
            sampler.random = _copy(sampler.random)
        with torch.random.fork_rng(devices=[]):
            index = next(iter(sampler), None)
            if index is None:
                return None
            if self._auto_collation:
                return self.collate_fn([self.dataset[i] for i in index])
            return self.collate_fn(self.dataset[index])


def _end_workers() -> None:
    """End the workers of all loaders.

    At exit multiprocessing sends them SIGTERM, which they ignore, and waits for them without a limit.
    """
    for loader in list(_LOADERS):
        if (iterator := getattr(loader, "_iterator", None)) is not None:
            iterator._shutdown_workers()


# Functions registered last are called first: before the exit function of multiprocessing, imported above.
atexit.register(_end_workers)


def _copy(random: Any) -> Any:
    return random.clone_state() if isinstance(random, torch.Generator) else copy.deepcopy(random)


def worker_error(error: RuntimeError) -> BraindinoError | None:
    """Return a readable error for a failure of a worker process, or None for any other error."""
    if not any(part in str(error) for part in _FAILURES):
        return None
    return BraindinoError(
        f"data.num_workers: a process that loads batches died, or returned none for {TIMEOUT:.0f} s "
        f"({str(error).splitlines()[0].rstrip('.')}).\n"
        f"Usual causes: memory, {SHARED} (`braindino doctor`), or a file system that does not respond; "
        "--data.num_workers 0 loads in this process."
    )


def shared_size(batch: Any) -> int:
    """Return the shared memory that the tensors of a batch take, in bytes of whole pages."""
    if isinstance(batch, torch.Tensor):
        return -(-batch.numel() * batch.element_size() // _PAGE) * _PAGE
    if isinstance(batch, Mapping):
        return sum(shared_size(value) for value in batch.values())
    if isinstance(batch, Sequence) and not isinstance(batch, str | bytes):
        return sum(shared_size(value) for value in batch)
    return 0


def init_worker(_: int) -> None:
    """Ignore signals in a worker, and end it when a batch cannot be passed on.

    Ctrl-C and a job's time limit are sent to every process; the trainer finishes its step first. A batch that
    does not fit into the shared memory fails in a thread of the worker; the worker would continue without it
    while the trainer waits.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]


def _end(error: BaseException, _: Any) -> None:
    print(f"a worker cannot pass on its batch: {error}", file=sys.stderr, flush=True)
    os._exit(1)


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
