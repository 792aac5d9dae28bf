"""Define the type of functions that map another one over many items, and the serial one."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

# Takes a function, its arguments one per call, and a label for a progress bar; returns the results in order.
Mapper = Callable[[Callable[[Any], Any], Sequence[Any], str], Iterable[Any]]


def serial_map(function: Callable[[Any], Any], items: Sequence[Any], label: str) -> Iterable[Any]:
    """Return the results of `function` in the order of `items`, computed one by one.

    Args:
        function: takes one item.
        items: its arguments, one per call.
        label: not used.
    """
    return map(function, items)
