"""Write files atomically, read them checked, and compute digests of their content."""

import errno
import hashlib
import json
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from braindino import documents
from braindino.errors import BraindinoError, DocumentError
from braindino.locks import lock_file, machine

MAX_NAME_BYTES = 200  # of a folder's name; file systems take 255, and temporary names are longer
UNLOCKED_AGE = 1.0  # seconds in which a new temporary file may not be locked yet
FOREIGN_AGE = 86400.0  # seconds after which a temporary file of another machine counts as left over


def folder_name(name: str, key: str) -> str:
    """Return `name` if it is the name of a single folder, without any path in it.

    Args:
        name: given by a user, a file or the environment.
        key: where it was given, for the message.

    Raises:
        BraindinoError: it is empty, has a path in it, starts with a dot, or has unprintable characters.
    """
    usable = name.strip() == name and not name.startswith((".", "-", "~")) and name.isprintable()
    if not name or not usable or set(name) & set("/\\") or len(name.encode()) > MAX_NAME_BYTES:
        raise BraindinoError(
            f"{key} {name!r}: expected the name of one folder (letters, digits, - _ . +, no path)."
        )
    return name


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file that is renamed to `path` when the block ends without an error.

    The temporary name is unique to the call, so several processes may write the same `path`: the last one
    wins and every reader sees a complete file. The data is flushed to disk before it is renamed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    encoding = None if "b" in mode else "utf-8"
    try:
        with temporary.open(mode, encoding=encoding, newline=None if encoding is None else "") as file:
            with suppress(OSError):
                lock_file(file.fileno())  # shows `remove_leftovers` that it is being written
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        # The error of a full disk has no file name, and a temporary name means nothing to a user.
        if error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def is_read_only(error: OSError) -> bool:
    """Return whether an error means that a path is not writable at all."""
    return error.errno in (errno.EROFS, errno.EACCES, errno.EPERM)


def can_write(folder: Path) -> bool:
    """Return whether files can be created in a folder, or in its nearest existing parent."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return os.access(folder, os.W_OK | os.X_OK)


def describe_special_file(path: Path) -> str:
    """Return what is at `path` if it is not a regular file (reading it could block), else "".

    A path that does not exist gives "" too: opening it raises the better message.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return ""
    if stat.S_ISREG(mode):
        return ""
    if stat.S_ISDIR(mode):
        return "a folder, not a file"
    kinds = {stat.S_IFIFO: "a pipe (FIFO)", stat.S_IFSOCK: "a socket"}
    return f"not a file but {kinds.get(stat.S_IFMT(mode), 'a device')}"


def temporary_beside(path: Path) -> Path:
    """Return a new hidden name beside `path` that `remove_leftovers` recognises."""
    return path.with_name(f".{path.name}.{_of_this_machine()}{os.getpid()}-{secrets.token_hex(4)}.tmp")


def remove_leftovers(folder: Path, pattern: str = "**/.*.tmp") -> None:
    """Remove temporary files that killed processes left in `folder`; those being written stay.

    A file of another machine stays for a day, because its lock may not show here.
    """
    now = time.time()
    for path in sorted(folder.glob(pattern)):
        with suppress(OSError):  # gone, or of another user
            patience = UNLOCKED_AGE if f".{_of_this_machine()}" in path.name else FOREIGN_AGE
            if path.is_symlink() or not path.is_file() or now - path.stat().st_mtime < patience:
                continue
            with path.open("rb") as file:
                if lock_file(file.fileno()) is True:
                    path.unlink()


def _of_this_machine() -> str:
    return hashlib.sha256(machine().encode()).hexdigest()[:8] + "-"


def write_if_changed(path: Path, content: bytes) -> None:
    """Write a file atomically unless it has this content already, as in a read-only folder."""
    try:
        if path.read_bytes() == content:
            return
    except OSError:
        pass  # writing raises the better message
    with atomic_write(path, "wb") as file:
        file.write(content)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinities raise ValueError."""
    with atomic_write(path) as file:
        json.dump(value, file, indent=2, allow_nan=False)
        file.write("\n")


def write_json_once(path: Path, value: Any) -> None:
    """Write JSON unless `path` exists; of several processes that write at once, the first wins."""
    first = temporary_beside(path)
    write_json(first, value)
    try:
        os.link(first, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        first.replace(path)
    finally:
        first.unlink(missing_ok=True)


def read_json(path: Path, shape: Any = Any) -> Any:
    """Read a JSON file of a declared shape.

    Args:
        path: the file.
        shape: required content, usually a `TypedDict`; see `documents.check_document`.

    Returns:
        The content, of that shape.

    Raises:
        BraindinoError: not JSON, or of a different shape; the message names the file and the key.
    """
    try:
        return documents.load_json(path, shape)
    except DocumentError as error:
        raise BraindinoError(f"{error}.") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys and values, or raise BraindinoError with file and line."""
    try:
        return documents.load_yaml(path)
    except DocumentError as error:
        raise BraindinoError(f"{error}.") from None


def refuse_bomb(content: Any, source: str) -> None:
    """Raise BraindinoError for YAML text that expands to too many values; see `documents`."""
    try:
        documents.check_aliases(content, source)
    except DocumentError as error:
        raise BraindinoError(f"{error}.") from None


def read_text(path: Path) -> str:
    """Read a text file in UTF-8; raises BraindinoError naming the file, see `documents`."""
    try:
        return documents.load_text(path)
    except DocumentError as error:
        raise BraindinoError(f"{error}.") from None


def check_shape(value: Any, shape: Any, source: Path | str) -> None:
    """Raise BraindinoError naming `source` and the key unless `value` has a declared shape."""
    try:
        documents.check_document(value, shape, str(source))
    except DocumentError as error:
        raise BraindinoError(f"{error}.") from None


def portable_path(path: Path | str, base: Path | str) -> str:
    """Return a path without the folders of this machine, for a file that may be shared.

    Args:
        path: a file that was read.
        base: folder of the file that will contain the path.

    Returns:
        The path relative to `base`; if they have no folder in common but the root, its last two parts.
    """
    absolute, root = os.path.abspath(path), os.path.abspath(base)  # noqa: PTH100  # links are not followed
    if len(Path(os.path.commonpath([absolute, root])).parts) > 1:
        return Path(os.path.relpath(absolute, root)).as_posix()
    return "/".join(Path(absolute).parts[-2:])


def digest_of_json(value: Any) -> str:
    """Return the hex SHA-256 of the canonical JSON of `value`, equal on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
