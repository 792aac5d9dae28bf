"""Run the command in processes that are killed at a change on disk, or have a full disk."""

import multiprocessing
import os
import resource
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

CHANGES = ("open", "os.rename", "os.remove", "os.truncate", "os.mkdir")  # audit events of Python's
PRELOADED = ["braindino.cli.config.parser", "braindino.datasets.pretraining.slices", "braindino.pretraining"]


def _work(
    arguments: list[str], folder: str, kill_at: int, environment: dict[str, str], limit: int | None
) -> None:
    """Run `main(arguments)` with a log in `folder.log`; kill it at the change `kill_at`."""
    log = os.open(f"{folder}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(environment)
    tempfile.tempdir = None  # to be looked up again
    changes = 0

    def count(event: str, details: tuple[Any, ...]) -> None:
        nonlocal changes
        if event in CHANGES and any(isinstance(part, str) and part.startswith(folder) for part in details):
            changes += 1
            if changes == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    from braindino.cli.main import main

    if limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    sys.addaudithook(count)
    code = main(arguments)
    Path(f"{folder}.changes").write_text(str(changes))
    os._exit(code)


def run_apart(
    arguments: list[str],
    folder: Path,
    kill_at: int = 0,
    environment: dict[str, str] | None = None,
    largest_file: int | None = None,
) -> int:
    """Run the command in a separate process, forked from one that has imported everything.

    Args:
        arguments: words after `braindino`.
        folder: changes below it are counted; the output of the command is in `<folder>.log`.
        kill_at: number of the change at which the process kills itself; 0 for never.
        environment: variables that are set in the process.
        largest_file: bytes; a larger one fails half written, as on a full disk.

    Returns:
        The exit code, negative for a signal.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    given = (arguments, str(folder), kill_at, environment or {}, largest_file)
    process = context.Process(target=_work, args=given)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode
