"""Define the type of functions that map another one over many items, and the serial one."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

# A function, what it is called with one by one, a word for what it does -> its results in the same order.
Mapper = Callable[[Callable[[Any], Any], Sequence[Any], str], Iterable[Any]]


def serial_map(function: Callable[[Any], Any], items: Sequence[Any], label: str) -> Iterable[Any]:
    """The simplest way to divide work: not at all."""
    return map(function, items)
