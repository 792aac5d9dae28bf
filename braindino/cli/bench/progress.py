"""How far studies are: cells that are done, and how long one takes, from what lies in their run folders."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import NotRequired, TypedDict

from braindino.cli.bench.plan import Study
from braindino.errors import BraindinoError
from braindino.files import check_shape, read_yaml
from braindino.progress import ProgressReport
from braindino.training.state import read_state

LOOK = 2.0  # seconds between two looks at the run folders
PAUSE = 30.0  # seconds between two lines where output goes to a file
LONGEST_GAP = 10  # times the median, above which the time between two cells was a pause


class _Folds(TypedDict):
    folds: NotRequired[int | None]
    fold: NotRequired[int | None]


class _Data(TypedDict):
    init_args: NotRequired[_Folds | None]


class _Repeats(TypedDict):
    seeds: list[int]
    fractions: list[float]


class _ProbeConfig(TypedDict):
    """What of config.yaml says how many cells a probe has."""

    probe: _Repeats
    data: _Data


@dataclass(frozen=True)
class Progress:
    """Of one study: cells done and asked for, its state, and why it failed."""

    name: str
    folder: Path
    done: int
    cells: int
    state: str
    reason: str


def progress_of(name: str, folder: Path, cells: int) -> Progress:
    """What a run folder shows of a study of `cells` cells."""
    known = read_state(folder)
    done = min(len(finished_cells(folder)), cells)
    return Progress(name, folder, done, cells, known["state"], known.get("reason", ""))


def finished_cells(folder: Path) -> list[Path]:
    """The `cell.json` of every cell that is done, baselines left out."""
    return sorted((folder / "cells").glob("*/cell.json"))


def asked_cells(folder: Path) -> int:
    """Number of cells that the config in a run folder asks for.

    Raises:
        BraindinoError: there is no config, or it is none of a probe.
    """
    path = folder / "config.yaml"
    if not path.is_file():
        raise BraindinoError(f"{folder}: no run folder (no config.yaml).")
    config = read_yaml(path)
    if "probe" not in config:
        raise BraindinoError(f"{path}: not the config of a probe.")
    check_shape(config, _ProbeConfig, path)
    protocol, data = config["probe"], config["data"].get("init_args") or {}
    folds = data.get("folds") if data.get("fold") is None else None
    return len(protocol["seeds"]) * len(protocol["fractions"]) * (folds or 1)


def seconds_per_cell(folders: list[Path]) -> tuple[float, int] | None:
    """Median time between cells finished one after another, and of how many; None before two are."""
    gaps: list[float] = []
    for folder in folders:
        times = sorted(path.stat().st_mtime for path in finished_cells(folder))
        gaps += [later - earlier for earlier, later in pairwise(times)]
    if not gaps:
        return None
    usual = [gap for gap in gaps if gap <= LONGEST_GAP * median(gaps)]
    return median(usual), len(usual)


@contextmanager
def cells_bar(studies: Sequence[Study], cells: int) -> Iterator[None]:
    """While the block runs, show on stderr how many cells of `studies`, each of `cells`, are done."""

    def done() -> int:
        return sum(min(len(finished_cells(study.folder)), cells) for study in studies)

    over = Event()
    with ProgressReport(cells * len(studies), "bench", "cell", done=done(), pause=PAUSE) as bar:

        def watch() -> None:
            while not over.wait(LOOK):
                bar.reach(done())

        thread = Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            bar.reach(done())
