"""Return the progress of benches and probes."""

from collections.abc import Sequence
from pathlib import Path

from braindino.analysis.schemas.bench import BENCH
from braindino.errors import BraindinoError
from braindino.training.state import STATE
from braindino.training.study_progress import (
    StudyProgress,
    requested_baselines,
    requested_cells,
    study_progress,
)
from braindino.verbs.opening import as_paths


def status(folders: Sequence[Path | str] | Path | str) -> list[StudyProgress]:
    """Return the progress of every study in some folders.

    Args:
        folders: folders of a bench or of a run, or folders above some runs; one or several.

    Raises:
        BraindinoError: a folder does not exist, or contains no study.
    """
    return [progress for folder in as_paths(folders) for progress in _status(folder)]


def _status(folder: Path) -> list[StudyProgress]:
    """Return the progress of the studies in one folder."""
    from braindino.verbs.bench import read_studies

    if not folder.is_dir():
        raise BraindinoError(f"{folder}: no such folder.")
    if (folder / BENCH).is_file():
        studies, cells = read_studies(folder)
        return [study_progress(study.name, study.folder, cells, study.baselines) for study in studies]
    runs = sorted(path.parent for path in folder.rglob(STATE))
    if not runs:
        raise BraindinoError(
            f"{folder}: no bench and no run of `braindino probe` in it (none has a {STATE})."
        )
    # Task and encoder are the two folders above a run.
    return [
        study_progress(
            ", ".join(run.resolve().parts[-3:-1]), run, requested_cells(run), requested_baselines(run)
        )
        for run in runs
    ]
