"""Apply a function to many items, optionally in several processes."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

from braindino.errors import BraindinoError
from braindino.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    label: str,
    jobs: int = 1,
    unit: str = "part",
    show: bool = True,
) -> Iterator[Result]:
    """Yield the results of `function` in the order of `items`, with a bar on a terminal.

    Args:
        function: defined at the top level of a module, so that it can be sent to other processes.
        items: its arguments, one per call.
        label: text beside the bar.
        jobs: number of processes; 1 works in this process.
        unit: name of an item.
        show: False shows no bar.

    Raises:
        BraindinoError: a process died. Exceptions of `function` are raised as they are.
    """
    show = show and sys.stderr.isatty()
    jobs = min(jobs, len(items))
    if jobs <= 1:
        yield from track(map(function, items), len(items), label, show, unit)
        return
    # Ctrl-C is handled by the process that waits.
    ignore = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=ignore)
    try:
        yield from track(pool.map(function, items), len(items), label, show, unit)
    except BrokenProcessPool:
        raise BraindinoError(
            "a process died, perhaps because memory ran out; try a smaller --jobs."
        ) from None
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
