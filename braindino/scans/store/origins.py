"""Refuse to take the people of two tables or folders for the same because both have the same name."""

import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from braindino.errors import BraindinoError
from braindino.scans.store.ledger import Record

if TYPE_CHECKING:
    from braindino.scans.store.worker import Task

ORIGIN = "indexed_from"  # the table or folder whose own name is the dataset's, because no name was given


def refuse_one_name_for_two(tasks: "Sequence[Task]", records: Mapping[str, Record]) -> None:
    """Raise BraindinoError when a person's key comes from two tables or folders of the same name.

    A key is `<dataset>:<id>`. Where the dataset was given no name it is called as its table or folder, and
    two of these (`siteA/patients.csv`, `siteB/patients.csv`) may number other people alike. Only origins that
    still exist are compared: a table that was moved is the same table.

    Args:
        tasks: scans that are to be in a store.
        records: what the store has, by path.
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
    shared = sorted(person for person, found in origins.items() if len(found) > 1)
    if not shared:
        return
    one, two = list(origins[shared[0]])[:2]
    name = shared[0].partition(":")[0]
    raise BraindinoError(
        f"{one} and {two} are both taken for the dataset {name!r}, by their name, and {len(shared)} people "
        f"of both have the same key, the first is {shared[0]!r}: the same people or others?\nIf others, "
        "index one again under a name of its own: `braindino index ... --options.dataset NAME` (in a config "
        f"`dataset: NAME`). If the same, index both with `--options.dataset {name}`."
    )


@cache
def _real(origin: str) -> str:
    """The path of an origin without links, or "" where it does not exist any more."""
    return os.path.realpath(origin) if os.path.exists(origin) else ""  # noqa: PTH110
