"""The one question before anything is fetched or sent: has the user forbidden it?"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from braindino.errors import BraindinoError

OFFLINE = "BRAINDINO_OFFLINE"  # set by `--offline`, for this process and those it starts


def forbid_network() -> None:
    """Refuse from now on what asks for a network."""
    os.environ[OFFLINE] = "1"


def check_network(what: str) -> None:
    """Raises BraindinoError when `what`, which asks for a network, must not have it."""
    if os.environ.get(OFFLINE):
        raise BraindinoError(f"{what} asks for a network, and --offline forbids it.")


@contextmanager
def without_wandb() -> Iterator[None]:
    """Let nothing import wandb while the block runs, until `allow_wandb`.

    timm imports it where it is installed, which takes seconds and writes into the temporary folder.
    """
    if "wandb" in sys.modules:
        yield
        return
    sys.modules["wandb"] = None  # type: ignore[assignment]  # Python's way to forbid an import
    try:
        yield
    finally:
        allow_wandb()


def allow_wandb() -> None:
    """Let wandb be imported again: the user asked for it."""
    if "wandb" in sys.modules and sys.modules["wandb"] is None:
        del sys.modules["wandb"]
