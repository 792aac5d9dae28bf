"""Write finished probes as one self-contained HTML page, and as tables for a paper."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from braindino.errors import BraindinoError
from braindino.verbs.opening import as_paths, check_at_least_one

TITLE = "Probes of frozen encoders"


@dataclass(frozen=True)
class Report:
    """The files of a report.

    Attributes:
        page: the HTML file.
        tables: CSV and LaTeX files, two per table on the page; empty if no folder was given for them.
    """

    page: Path
    tables: tuple[Path, ...]


def report(
    runs: Sequence[Path | str] | Path | str,
    out: Path | str = "report.html",
    *,
    tables: Path | str | None = None,
    title: str = TITLE,
    resamples: int = 1000,
    jobs: int = 1,
    identify: bool = False,
    progress: bool = True,
) -> Report:
    """Write one self-contained HTML page about finished probes.

    The page opens from disk and loads nothing. By default subject ids are replaced by pseudonyms and paths
    are shortened, so that the page can be shared.

    Args:
        runs: run folders of `probe`, or folders of them; runs of one encoder are one model.
        out: the HTML file.
        tables: folder for every table of the page, as CSV (not rounded) and LaTeX (as shown).
        title: title at the top of the page.
        resamples: draws of people for the comparison of models.
        jobs: number of processes; the page does not depend on it.
        identify: show subject ids, file names, absolute paths and the folder in which the command ran.
        progress: False shows no progress bar.

    Returns:
        The files that were written.

    Raises:
        BraindinoError: a folder contains no finished run, a file of a run is damaged, or models contradict
            each other about a task.
    """
    from braindino.analysis.report.page import build_page, render, table_files
    from braindino.analysis.runs import runs_by_model
    from braindino.files import atomic_write
    from braindino.parallel import parallel_map

    out = Path(out)
    check_at_least_one(resamples=resamples, jobs=jobs)
    if out.is_dir():
        raise BraindinoError(f"--out {out}: is a folder, expected the name of an HTML file.")
    mapper = partial(parallel_map, jobs=jobs, show=progress)
    try:
        page = build_page(runs_by_model(as_paths(runs)), resamples, title, mapper, identify)
    except ValueError as error:
        raise BraindinoError(f"report: {error}.") from None
    texts = {out: render(page)}
    if tables is not None:
        texts |= {Path(tables) / name: text for name, text in table_files(page).items()}
    for path, text in texts.items():
        with atomic_write(path) as file:
            file.write(text)
    return Report(out, tuple(texts)[1:])
