"""Enforce `--offline`: refuse downloads and uploads, and keep wandb from being imported."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from braindino.errors import BraindinoError

OFFLINE = "BRAINDINO_OFFLINE"  # set by `--offline`, for this process and those it starts


def forbid_network() -> None:
    """Refuse network access from now on, in this process and those it starts."""
    os.environ[OFFLINE] = "1"


def check_network(what: str) -> None:
    """Raise BraindinoError if network access was forbidden.

    Args:
        what: the operation that needs the network, for the message.
    """
    if os.environ.get(OFFLINE):
        raise BraindinoError(f"{what} needs network access, and --offline forbids it; run without --offline.")


@contextmanager
def without_wandb() -> Iterator[None]:
    """Block imports of wandb while the block runs, or until `allow_wandb`.

    timm imports wandb where it is installed, which takes seconds and writes into the temporary folder.
    """
    if "wandb" in sys.modules:
        yield
        return
    sys.modules["wandb"] = None  # type: ignore[assignment]  # an entry of None makes the import fail
    try:
        yield
    finally:
        allow_wandb()


def allow_wandb() -> None:
    """Allow imports of wandb again, because the user enabled it."""
    if "wandb" in sys.modules and sys.modules["wandb"] is None:
        del sys.modules["wandb"]
