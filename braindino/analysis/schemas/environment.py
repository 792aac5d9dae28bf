"""Declare the shape of environment.json, the record of a run's starts."""

from typing import TypedDict


class Start(TypedDict):
    """A start of a run.

    Attributes:
        started: date and time, ISO 8601.
        command: the words of the command line.
        folder: working directory of the command.
        braindino: version of the package.
        commit: commit of a checkout of the package; None if installed.
        python: version of Python.
        platform: operating system and machine.
        versions: package -> its version; None if it is not installed.
        devices: names of the devices.
        threads: number of threads of torch.
    """

    started: str
    command: list[str]
    folder: str
    braindino: str
    commit: str | None
    python: str
    platform: str
    versions: dict[str, str | None]
    devices: list[str]
    threads: int


class Environment(TypedDict):
    """The content of environment.json.

    Attributes:
        starts: all starts of the run, the latest last.
    """

    starts: list[Start]
