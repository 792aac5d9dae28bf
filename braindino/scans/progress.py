"""Progress of a long verb: a bar on a terminal, a line every tenth of the way when output goes to a file."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def track(
    items: Iterable[Item], total: int, label: str, show: bool = True, unit: str = "scan"
) -> Iterator[Item]:
    """Pass `items` on and tell stderr how far it is. Nothing is said when `show` is False or `total` is 0."""
    if not show or total == 0:
        yield from items
        return
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, desc=label, unit=unit)
        return
    told = 0
    for done, item in enumerate(items, start=1):
        yield item
        if done * 10 // total > told:
            told = done * 10 // total
            print(f"{label}: {done} of {total} ({done * 100 // total} %)", file=sys.stderr, flush=True)
