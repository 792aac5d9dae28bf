"""Declare the shape of bench.json."""

from typing import TypedDict


class PlannedFolder(TypedDict):
    """The run folder of one study of a bench."""

    folder: str


class BenchOrder(TypedDict):
    """What of bench.json gives the order of its runs."""

    studies: list[PlannedFolder]


class PlannedStudy(PlannedFolder):
    """One study of a bench."""

    task: str
    encoder: str


class BenchRecord(TypedDict):
    """bench.json of a bench."""

    cells: int
    studies: list[PlannedStudy]
