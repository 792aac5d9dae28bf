"""The one question before anything is fetched or sent: has the user forbidden it?"""

import os

from braindino.errors import BraindinoError

OFFLINE = "BRAINDINO_OFFLINE"  # set by `--offline`, for this process and those it starts


def forbid_network() -> None:
    """Refuse from now on what asks for a network."""
    os.environ[OFFLINE] = "1"


def check_network(what: str) -> None:
    """Raises BraindinoError when `what`, which asks for a network, must not have it."""
    if os.environ.get(OFFLINE):
        raise BraindinoError(f"{what} asks for a network, and --offline forbids it.")
