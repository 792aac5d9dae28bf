"""Declare the shape of bench.json, the plan of a bench."""

from typing import NotRequired, TypedDict

BENCH = "bench.json"


class PlannedFolder(TypedDict):
    """The run folder of a study.

    Attributes:
        folder: its path relative to the bench's folder.
    """

    folder: str


class BenchOrder(TypedDict):
    """The part of bench.json that gives the order of its runs.

    Attributes:
        studies: run folders in the order of the plan.
    """

    studies: list[PlannedFolder]


class PlannedStudy(PlannedFolder):
    """A study of a bench.

    Attributes:
        task: name of the task.
        encoder: name of the encoder.
        baselines: baselines that are requested by name.
    """

    task: str
    encoder: str
    baselines: NotRequired[list[str]]


class BenchRecord(TypedDict):
    """The content of bench.json.

    Attributes:
        cells: number of cells of each study.
        studies: studies in the order of the plan.
    """

    cells: int
    studies: list[PlannedStudy]
