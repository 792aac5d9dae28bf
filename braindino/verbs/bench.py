"""Probe several encoders on several tasks, and compare them in one table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from braindino.analysis.schemas.bench import BENCH, BenchRecord
from braindino.errors import BraindinoError
from braindino.files import read_json, write_json
from braindino.training.study_progress import StudyProgress, baseline_folder, show_cells, study_progress

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Study:
    """One encoder on one task: all seeds and label fractions, in one run folder.

    Attributes:
        task: name of the task.
        encoder: name of the encoder.
        folder: run folder.
        arguments: arguments of `braindino probe`; empty if it is not run by the command.
        baselines: baselines that are requested by name, beside those that always apply.
    """

    task: str
    encoder: str
    folder: Path
    arguments: tuple[str, ...] = ()
    baselines: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Return task and encoder as text."""
        return f"{self.task}, {self.encoder}"


# Trains studies, and returns those that failed with the reasons.
TrainStudies = Callable[[Sequence[Study]], Mapping[Study, str]]


@dataclass(frozen=True)
class BenchResult:
    """Results of a bench, as they were written into its folder.

    Attributes:
        out: the folder.
        table: a row per task, label fraction and encoder; table.csv. Empty if no study is finished.
        comparisons: comparisons of every encoder with the first; compare.csv.
        controls: differences to the baselines of each study; controls.csv. Empty if there are none.
        notes: notes on excluded comparisons and on leakage.
        failed: studies that failed, with the reasons.
    """

    out: Path
    table: "pd.DataFrame"
    comparisons: "pd.DataFrame"
    controls: "pd.DataFrame"
    notes: list[str] = field(default_factory=list)
    failed: Mapping[Study, str] = field(default_factory=dict)


def bench(
    studies: Sequence[Study],
    out: Path | str,
    cells: int,
    train: TrainStudies,
    *,
    resamples: int = 1000,
    jobs: int = 1,
    progress: bool = True,
) -> BenchResult:
    """Train the unfinished studies of a bench, and write the table of all.

    The command `braindino bench` makes the studies from a YAML file. Calling it again trains only the studies
    that are not finished.

    Args:
        studies: every encoder on every task; the encoder of the first is the reference of the comparisons.
        out: folder of the bench; contains the run folders of the studies.
        cells: cells of each study: seeds times label fractions.
        train: trains studies, for instance by `braindino.probe`; returns those that failed with the reasons.
        resamples: draws of people for the intervals of the differences.
        jobs: processes that compute comparisons.
        progress: show on stderr how many cells are finished.

    Raises:
        BraindinoError: another process works in the folder, or the studies cannot be compared.
    """
    from braindino.locks import locked

    out = Path(out)
    unfinished = unfinished_studies(studies, cells)
    write_studies(out, studies, cells)
    check_not_running(unfinished, cells, out)
    with locked(out, "the folder of the bench"):
        folders = [
            folder
            for study in unfinished
            for folder in (
                study.folder,
                *(baseline_folder(study.folder, name) for name in study.baselines),
            )
        ]
        with show_cells(folders, cells, progress):
            failed = train(unfinished)
        return _compare(out, studies, failed, resamples, jobs, progress)


def unfinished_studies(studies: Sequence[Study], cells: int) -> list[Study]:
    """Return the studies that are not done with all their cells.

    Args:
        studies: studies of a bench.
        cells: cells of each.
    """
    return [study for study in studies if not _progress(study, cells).is_finished]


def check_not_running(studies: Sequence[Study], cells: int, out: Path) -> None:
    """Raise BraindinoError if another process runs one of the studies.

    Args:
        studies: studies of a bench.
        cells: cells of each.
        out: folder of the bench, for the message.
    """
    running = [study for study in studies if _progress(study, cells).state == "running"]
    if running:
        raise BraindinoError(
            f"{running[0].name} is being run already (`braindino status {out}`).\n"
            "Wait until it has ended; a study whose process was killed is not in the way."
        )


def write_studies(out: Path, studies: Sequence[Study], cells: int) -> None:
    """Write `bench.json` into the folder of a bench, for `status`.

    Args:
        out: folder of the bench.
        studies: its studies.
        cells: cells of each.
    """
    listed: list[dict[str, object]] = []
    for study in studies:
        entry = {"task": study.task, "encoder": study.encoder, "folder": str(study.folder.relative_to(out))}
        listed.append({**entry, **({"baselines": list(study.baselines)} if study.baselines else {})})
    write_json(out / BENCH, {"cells": cells, "studies": listed})


def read_studies(out: Path) -> tuple[list[Study], int]:
    """Return the studies of `bench.json` in the folder of a bench, and the cells of each.

    Raises:
        BraindinoError: the file is damaged.
    """
    record: BenchRecord = read_json(out / BENCH, BenchRecord)
    studies = [
        Study(
            study["task"],
            study["encoder"],
            out / study["folder"],
            baselines=tuple(study.get("baselines", ())),
        )
        for study in record["studies"]
    ]
    for study, listed in zip(studies, record["studies"], strict=True):
        if not study.folder.resolve().is_relative_to(out.resolve()):
            raise BraindinoError(
                f"{out / BENCH}: folder {listed['folder']!r} is not in the bench; it was damaged or edited."
            )
    return studies, record["cells"]


def _progress(study: Study, cells: int) -> StudyProgress:
    return study_progress(study.name, study.folder, cells, study.baselines)


def _compare(
    out: Path,
    studies: Sequence[Study],
    failed: Mapping[Study, str],
    resamples: int,
    jobs: int,
    progress: bool,
) -> BenchResult:
    """Write table.csv and compare.csv of all finished studies."""
    from braindino.analysis.comparison.bench_table import BenchRun, bench_controls, bench_table
    from braindino.csv_text import csv_text
    from braindino.files import atomic_write
    from braindino.parallel import parallel_map

    runs = [BenchRun(study.task, study.encoder, study.folder) for study in studies]
    mapper = partial(parallel_map, jobs=jobs, unit="comparison", show=progress)
    try:
        table, comparisons, notes = bench_table(runs, resamples, mapper)
        controls = bench_controls(runs)
    except ValueError as error:
        raise BraindinoError(f"bench: {error}.") from None
    if not table.empty:
        files = {"table.csv": table, "compare.csv": comparisons}
        if not controls.empty:
            files["controls.csv"] = controls
        for name, written in files.items():
            with atomic_write(out / name) as file:
                file.write(csv_text(written))
    return BenchResult(out, table, comparisons, controls, notes, failed)
