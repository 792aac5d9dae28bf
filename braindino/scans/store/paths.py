"""Say where a store is when the one that was named is not."""

import difflib
import os
from itertools import islice
from pathlib import Path

NAMED = 3  # stores in a message
SEARCHED = 1000  # folders that are looked into


def no_store(path: Path | str, *remedies: str) -> str:
    """Return the message for a store that does not exist: its path, the stores near by, and the remedies.

    Args:
        path: as the user named it.
        remedies: sentences without their full stop, besides that a store is made by `braindino prepare`.
    """
    near = stores_near(Path(path))
    listed = f" Stores near by: {', '.join(map(str, near))}." if near else ""
    made = f"`braindino prepare MANIFEST --store {path}` makes one"
    missing = f"{path}: no store there (no contract.json).{listed}"
    return f"{missing}\n{'; '.join([made, *remedies])}."


def stores_near(path: Path) -> list[Path]:
    """Return existing stores inside `path` and beside it, those of the nearest names first, at most three."""
    parents = [path, path.parent, Path()]
    if not path.parent.is_dir():  # a folder above may be misspelt, too
        parents.append(path.parent.parent)
    folders = {os.path.normpath(folder): folder for parent in parents for folder in _folders(parent)}
    stores = [Path(name) for name in folders if (Path(name) / "contract.json").is_file()]
    return sorted(stores, key=lambda store: -_likeness(store.name, path.name))[:NAMED]


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return [parent / entry.name for entry in islice(entries, SEARCHED) if entry.is_dir()]
    except OSError:  # not there, not a folder, or not to be read
        return []


def _likeness(name: str, other: str) -> float:
    return difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()
