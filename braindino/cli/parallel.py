"""One function over many things: in several processes if asked, with a bar on a terminal."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from threading import Event, Thread
from typing import TypeVar

from braindino.errors import BraindinoError
from braindino.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")


def divided(
    function: Callable[[Item], Result], items: Sequence[Item], label: str, jobs: int = 1, unit: str = "part"
) -> Iterator[Result]:
    """Results of `function`, in the order of `items`; one job works in this process.

    Raises:
        BraindinoError: a process died; whatever `function` raises.
    """
    show = sys.stderr.isatty()
    jobs = min(jobs, len(items))
    if jobs <= 1:
        yield from track(map(function, items), len(items), label, show, unit)
        return
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=ignore)
    try:
        yield from track(pool.map(function, items), len(items), label, show, unit)
    except BrokenProcessPool:
        raise BraindinoError("a process died, of too little memory perhaps; try fewer --jobs.") from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def clocked(label: str) -> Iterator[None]:
    """Show the seconds that the block has taken so far, on a terminal: what cannot be counted is not hung."""
    if not sys.stderr.isatty():
        yield
        return
    from tqdm import tqdm

    over = Event()
    with tqdm(desc=label, bar_format="{desc}: {elapsed}", leave=False) as bar:

        def tick() -> None:
            while not over.wait(1):
                bar.refresh()

        thread = Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
