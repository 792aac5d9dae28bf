"""The verb `status`: how far benches and probes are."""

from pathlib import Path
from typing import TYPE_CHECKING

from braindino.errors import BraindinoError

if TYPE_CHECKING:
    from braindino.cli.bench.progress import Progress


def status(*folders: Path) -> int:
    """Show how many cells are done, and what is running, failed or interrupted.

    Args:
        folders: of a bench, of runs, or any folder above some runs.

    Returns:
        0; 1 when something failed.
    """
    from braindino.analysis.formatting import align_columns

    found: list[Progress] = []
    for folder in folders:
        found += _look(folder)
    lines = [["", "done", "state", ""]]
    for part in found:
        where = part.reason.splitlines()[0] if part.reason else str(part.folder)
        lines.append([part.name, f"{part.done}/{part.cells}", _state(part), where])
    print("\n".join(align_columns(lines)))
    done, cells = (sum(getattr(part, name) for part in found) for name in ("done", "cells"))
    states = [_state(part) for part in found]
    counts = {name: states.count(name) for name in dict.fromkeys(states)}
    print(f"{done} of {cells} done; " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return 1 if "failed" in states else 0


def _look(folder: Path) -> "list[Progress]":
    from braindino.cli.bench.plan import SNAPSHOT, planned
    from braindino.cli.bench.progress import asked_cells, progress_of
    from braindino.training.state import STATE

    if not folder.is_dir():
        raise BraindinoError(f"{folder}: no such folder.")
    if (folder / SNAPSHOT).is_file():
        return [
            progress_of(f"{task}, {encoder}", run, cells) for task, encoder, run, cells in planned(folder)
        ]
    runs = sorted(path.parent for path in folder.rglob(STATE))
    if not runs:
        raise BraindinoError(
            f"{folder}: no bench and no run of `braindino probe` in it (none has a {STATE})."
        )
    return [progress_of(_name(run), run, asked_cells(run)) for run in runs]


def _name(run: Path) -> str:
    """Task and encoder, as `probe` lays its folders out."""
    return ", ".join(run.resolve().parts[-3:-1])


def _state(part: "Progress") -> str:
    """`done` only with all cells: of a study that was asked for more since, some are left."""
    return "incomplete" if part.state == "done" and part.done < part.cells else part.state
