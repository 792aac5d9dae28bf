"""Suggest stores near a path that has none."""

import difflib
import os
from itertools import islice
from pathlib import Path

MAX_STORES = 3  # maximum stores in a message
MAX_FOLDERS = 1000  # maximum folders to search


def no_store(path: Path | str, *remedies: str) -> str:
    """Return the message for a store that does not exist: its path, nearby stores, and remedies.

    Args:
        path: path as the user gave it.
        remedies: sentences without a full stop, in addition to `braindino prepare`.
    """
    near = stores_near(Path(path))
    listed = f" Stores near by: {', '.join(map(str, near))}." if near else ""
    made = f"`braindino prepare MANIFEST --store {path}` makes one"
    missing = f"{path}: no store there (no contract.json).{listed}"
    return f"{missing}\n{'; '.join([made, *remedies])}."


def stores_near(path: Path) -> list[Path]:
    """Return at most three stores inside `path` and beside it, most similar names first."""
    parents = [path, path.parent, Path()]
    if not path.parent.is_dir():  # the parent folder may be misspelt too
        parents.append(path.parent.parent)
    folders = {os.path.normpath(folder): folder for parent in parents for folder in _folders(parent)}
    stores = [Path(name) for name in folders if (Path(name) / "contract.json").is_file()]
    return sorted(stores, key=lambda store: -_likeness(store.name, path.name))[:MAX_STORES]


def _folders(parent: Path) -> list[Path]:
    try:
        with os.scandir(parent) as entries:
            return [parent / entry.name for entry in islice(entries, MAX_FOLDERS) if entry.is_dir()]
    except OSError:  # does not exist, is not a folder, or is not readable
        return []


def _likeness(name: str, other: str) -> float:
    return difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()
