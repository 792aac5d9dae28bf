"""Make items in a thread, ahead of their consumer."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

POLL = 0.1  # seconds after which a waiting producer looks whether its consumer has stopped


class _End:
    """Entry of the queue that follows the last item.

    Attributes:
        error: raised by the items, or None if they are complete.
    """

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(items: Iterable[Item], count: int) -> Iterator[Item]:
    """Yield `items` while another thread makes up to `count` of them in advance.

    An error that making an item raises is raised here.

    Args:
        items: iterated in the other thread.
        count: largest number of items that wait.
    """
    entries: queue.Queue[Item | _End] = queue.Queue(maxsize=count)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, entries, stop), name="prefetch", daemon=True)
    thread.start()
    try:
        while not isinstance(entry := entries.get(), _End):
            yield entry
        if entry.error is not None:
            raise entry.error
    finally:
        stop.set()
        thread.join()


def _produce(items: Iterable[Item], entries: "queue.Queue[Item | _End]", stop: threading.Event) -> None:
    """Put the items and an end into the queue, until the consumer stops."""
    end = _End()
    try:
        for item in items:
            if not _put(entry=item, entries=entries, stop=stop):
                return
    except BaseException as error:  # raised again by the consumer
        end = _End(error)
    _put(entry=end, entries=entries, stop=stop)


def _put(entry: Item | _End, entries: "queue.Queue[Item | _End]", stop: threading.Event) -> bool:
    """Wait for room in the queue and return True, or False if the consumer has stopped."""
    while not stop.is_set():
        try:
            entries.put(entry, timeout=POLL)
            return True
        except queue.Full:
            continue
    return False
