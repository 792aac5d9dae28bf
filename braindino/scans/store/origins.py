"""Reject people of two tables or folders that would be merged by an equal name."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from braindino.errors import BraindinoError
from braindino.scans.store.ledger import Record

if TYPE_CHECKING:
    from braindino.scans.store.worker import Task

ORIGIN = "indexed_from"  # column: table or folder after which the dataset is named, for lack of a name


def refuse_one_name_for_two(tasks: "Sequence[Task]", records: Mapping[str, Record]) -> None:
    """Raise BraindinoError if a person's key comes from two tables or folders of one name.

    A key is `<dataset>:<id>`. A dataset without a given name is named after its table or folder, and two of
    these (`siteA/patients.csv`, `siteB/patients.csv`) may use the same numbers for different people. Only
    origins that still exist are compared, because a table that was moved is the same table.

    Args:
        tasks: scans to add to a store.
        records: records of the scans that the store has, by path.

    Raises:
        BraindinoError: a key has two origins; with both of them.
    """
    given = {task.path for task in tasks}
    wanted = {str(task.identity.get("group", "")) for task in tasks if task.identity.get(ORIGIN)}
    origins: dict[str, dict[str, None]] = {person: {} for person in wanted}
    identities: Iterable[Mapping[str, object]] = (
        *(task.identity for task in tasks),
        *(record for path, record in records.items() if path not in given),
    )
    for identity in identities:
        person, origin = str(identity.get("group", "")), str(identity.get(ORIGIN) or "")
        if origin and person in origins and _real(origin):
            origins[person][_real(origin)] = None
    shared = sorted(person for person, tables in origins.items() if len(tables) > 1)
    if not shared:
        return
    one, two = list(origins[shared[0]])[:2]
    name = shared[0].partition(":")[0]
    raise BraindinoError(
        f"{one} and {two} both count as the dataset {name!r}, because of their name, and {len(shared)} "
        f"people of both have the same key, the first is {shared[0]!r}: are they the same people?\n"
        "If not, index one again under a different name: `braindino index ... --options.dataset NAME` (in a "
        f"config `dataset: NAME`). If they are, index both with `--options.dataset {name}`."
    )


@cache
def _real(origin: str) -> str:
    """Return the path of an origin without links, or "" if it no longer exists."""
    return os.path.realpath(origin) if os.path.exists(origin) else ""  # noqa: PTH110
