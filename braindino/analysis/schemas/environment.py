"""Declare the shape of environment.json."""

from typing import TypedDict


class Start(TypedDict):
    """One start of a run."""

    started: str
    command: list[str]
    folder: str
    braindino: str
    commit: str | None
    python: str
    platform: str
    versions: dict[str, str | None]  # null: not installed
    devices: list[str]
    threads: int


class Environment(TypedDict):
    """environment.json of a run."""

    starts: list[Start]
