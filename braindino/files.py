"""Writing files so that a reader never sees half of one, and naming them by their content."""

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from braindino.errors import BraindinoError


@contextmanager
def atomic_write(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; it takes the name `path` when the block ends without an error.

    The temporary name is unique to the call, so several processes may write the same `path`: the last one
    wins and every reader sees a complete file. The data is flushed to disk before it is renamed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    encoding = None if "b" in mode else "utf-8"
    try:
        with temporary.open(mode, encoding=encoding, newline=None if encoding is None else "") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.filename == str(temporary):  # the user knows the file by its own name
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def describe_special_file(path: Path) -> str:
    """Return what is at `path` when it is no regular file (reading it could wait for ever), else "".

    Nothing at `path` is "" as well: opening it gives the better message.
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


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinities are refused: JSON has none."""
    with atomic_write(path) as file:
        json.dump(value, file, indent=2, allow_nan=False)
        file.write("\n")


def write_json_once(path: Path, value: Any) -> None:
    """Write JSON unless `path` is there: of several processes that do so at once, the first one wins."""
    first = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    write_json(first, value)
    try:
        os.link(first, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        first.replace(path)
    finally:
        first.unlink(missing_ok=True)


def read_json(path: Path) -> Any:
    """Read a JSON file; raises BraindinoError naming the file if it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise BraindinoError(f"{path}: not valid JSON ({error}); it was damaged or edited.") from None


def digest_of_json(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON of `value`: equal values give equal digests on every machine."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
