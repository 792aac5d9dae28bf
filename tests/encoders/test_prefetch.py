"""prefetch: order, number of items in advance, errors, and the end of its thread."""

import threading
import time
from collections.abc import Iterator

import pytest

from braindino.encoders.prefetch import prefetch


def test_prefetch_yields_items_in_order() -> None:
    assert list(prefetch(range(50), 3)) == list(range(50))
    assert list(prefetch([], 3)) == []


def test_prefetch_makes_items_in_advance_and_no_more() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(20):
            made.append(number)
            yield number

    consumer = prefetch(items(), 3)
    assert next(consumer) == 0
    deadline = time.monotonic() + 10
    while len(made) < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.2)
    assert len(made) == 5  # one was handed over, three wait, one waits for room
    assert list(consumer) == list(range(1, 20))


def test_prefetch_raises_an_error_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("disk gone")

    consumer = prefetch(items(), 3)
    assert next(consumer) == 1
    with pytest.raises(OSError, match="disk gone"):
        next(consumer)


def test_prefetch_ends_its_thread_when_the_consumer_stops() -> None:
    before = threading.active_count()
    consumer = prefetch(iter(range(1000)), 2)
    assert next(iter(consumer)) == 0
    assert threading.active_count() == before + 1
    consumer.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
