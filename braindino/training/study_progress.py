"""Progress of the studies in run folders: finished cells, and the time that a cell takes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import NotRequired, TypedDict, cast

from braindino.errors import BraindinoError
from braindino.files import check_shape, read_json, read_yaml
from braindino.progress import ProgressReport
from braindino.training.state import read_state

INTERVAL = 2.0  # seconds between two readings of the run folders
PAUSE = 30.0  # seconds between two lines where output goes to a file
MAX_GAP = 10  # in medians; a longer time between two cells was a pause


class _Folds(TypedDict):
    folds: NotRequired[int | None]
    fold: NotRequired[int | None]


class _Data(TypedDict):
    init_args: NotRequired[_Folds | None]


class _Repeats(TypedDict):
    seeds: list[int]
    fractions: list[float]
    baselines: NotRequired[bool | str | list[str]]


class _ProbeConfig(TypedDict):
    """The part of config.yaml that determines the number of cells."""

    probe: _Repeats
    data: _Data


@dataclass(frozen=True)
class StudyProgress:
    """Progress of one study.

    Attributes:
        name: name of the study.
        folder: its run folder.
        done: number of finished cells, with those of the baselines that are requested by name.
        cells: number of cells of the study and of these baselines.
        state: "running", "done", "failed", "interrupted" or "not started"; also "incomplete", for a study
            that was finished before its config had more cells.
        reason: message of the error if it failed; "" in any other state.
    """

    name: str
    folder: Path
    done: int
    cells: int
    state: str
    reason: str

    @property
    def is_finished(self) -> bool:
        """Return whether all cells of the study are finished."""
        return self.state == "done"


def study_progress(name: str, folder: Path, cells: int, baselines: Sequence[str] = ()) -> StudyProgress:
    """Return the progress of a study.

    Args:
        name: name of the study.
        folder: its run folder, which need not exist.
        cells: number of cells of the study without baselines.
        baselines: baselines that are requested by name; each has as many cells. Those that failed, which
            results.json records, are not counted.
    """
    recorded = read_state(folder)
    failed = _failed_baselines(folder) if baselines else {}
    counted = [each for each in baselines if each not in failed]
    parts = [folder, *(baseline_folder(folder, each) for each in counted)]
    done = sum(min(len(finished_cells(part)), cells) for part in parts)
    whole = cells * len(parts)
    state = "incomplete" if recorded["state"] == "done" and done < whole else recorded["state"]
    return StudyProgress(name, folder, done, whole, state, recorded.get("reason", ""))


def baseline_names(setting: object) -> tuple[str, ...]:
    """Return the names in a setting `probe.baselines`, which may be true, false, a name or a list.

    Args:
        setting: the setting, as YAML gives it.
    """
    if isinstance(setting, list):
        return tuple(str(name) for name in setting)
    return (setting,) if isinstance(setting, str) else ()


def baseline_folder(folder: Path, name: str) -> Path:
    """Return the folder of a baseline in a run folder; its `cells` are those of the baseline.

    Args:
        folder: the run folder.
        name: name of the baseline.
    """
    return folder / "baselines" / name


def _failed_baselines(folder: Path) -> Mapping[str, str]:
    """Return the reasons of baselines of a study that failed in whole or in part."""
    path = folder / "results.json"
    if not path.is_file():
        return {}
    results = read_json(path)
    failed = results.get("baselines_failed") if isinstance(results, dict) else None
    return failed if isinstance(failed, dict) else {}


def finished_cells(folder: Path) -> list[Path]:
    """Return the `cell.json` of every finished cell in a run folder, without those of baselines."""
    return sorted((folder / "cells").glob("*/cell.json"))


def requested_cells(folder: Path) -> int:
    """Return the number of cells that the config in a run folder requests, without those of baselines.

    Raises:
        BraindinoError: there is no config, or it is not that of a probe.
    """
    config = _probe_config(folder)
    protocol, data = config["probe"], config["data"].get("init_args") or {}
    folds = data.get("folds") if data.get("fold") is None else None
    return len(protocol["seeds"]) * len(protocol["fractions"]) * (folds or 1)


def requested_baselines(folder: Path) -> tuple[str, ...]:
    """Return the baselines that the config in a run folder requests by name.

    Raises:
        BraindinoError: there is no config, or it is not that of a probe.
    """
    return baseline_names(_probe_config(folder)["probe"].get("baselines"))


def _probe_config(folder: Path) -> _ProbeConfig:
    path = folder / "config.yaml"
    if not path.is_file():
        raise BraindinoError(f"{folder}: no run folder (no config.yaml).")
    config = read_yaml(path)
    if "probe" not in config:
        raise BraindinoError(f"{path}: not the config of a probe.")
    check_shape(config, _ProbeConfig, path)
    return cast("_ProbeConfig", config)


def seconds_per_cell(folders: Sequence[Path]) -> tuple[float, int] | None:
    """Return the median time between two finished cells, in seconds.

    Args:
        folders: run folders.

    Returns:
        The median, and the number of times it is of; None without two finished cells.
    """
    gaps: list[float] = []
    for folder in folders:
        times = sorted(path.stat().st_mtime for path in finished_cells(folder))
        gaps += [later - earlier for earlier, later in pairwise(times)]
    if not gaps:
        return None
    usual = [gap for gap in gaps if gap <= MAX_GAP * median(gaps)]
    return median(usual), len(usual)


@contextmanager
def show_cells(folders: Sequence[Path], cells: int, show: bool = True) -> Iterator[None]:
    """Show on stderr, while the block runs, how many cells of some studies are finished.

    Args:
        folders: their run folders.
        cells: number of cells of each.
        show: False shows nothing.
    """

    def done() -> int:
        return sum(min(len(finished_cells(folder)), cells) for folder in folders)

    ended = Event()
    with ProgressReport(cells * len(folders), "bench", "cell", show, done(), pause=PAUSE) as bar:

        def watch() -> None:
            while not ended.wait(INTERVAL):
                bar.reach(done())

        thread = Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            bar.reach(done())
