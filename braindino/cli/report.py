"""The verb `report`: finished probes as one page that opens from disk, and as tables for a paper."""

from functools import partial
from pathlib import Path

from braindino.errors import BraindinoError


def report(
    *runs: Path,
    out: Path = Path("report.html"),
    tables: Path | None = None,
    title: str = "Probes of frozen encoders",
    resamples: int = 1000,
    jobs: int = 1,
    identify: bool = False,
) -> int:
    """Write one self-contained HTML page about finished probes: it opens from disk and loads nothing.

    Results with intervals, label fractions, ROC, calibration, confusion, scatter, Kaplan-Meier, Dice, PCA
    maps of patch tokens, models against each other, baselines, subgroups, leakage audit, dropped rows,
    versions, the command to repeat it. Models are compared where they share a label fraction, seed and test
    cases; other pairs are named on it. Subject ids are pseudonyms and of paths only the ends are shown, so
    that the page can be given away.

    Args:
        runs: run folders of `probe`, or folders of them; runs of one encoder are one model.
        out: the HTML file.
        tables: folder for every table of numbers on the page, as CSV (not rounded) and LaTeX (as shown).
        title: at the top of the page.
        resamples: draws of people for the comparison of models.
        jobs: processes side by side; the page does not depend on it.
        identify: show subject ids, file names, absolute paths and the folder of the command, for yourself.

    Returns:
        0.
    """
    from braindino.analysis.report.page import build, render, table_files
    from braindino.analysis.runs import runs_by_model
    from braindino.files import atomic_write
    from braindino.parallel import parallel_map

    for name, value in (("resamples", resamples), ("jobs", jobs)):
        if value < 1:
            raise BraindinoError(f"--{name} {value}: expected 1 or more.")
    if out.is_dir():
        raise BraindinoError(f"--out {out}: is a folder, expected the name of an HTML file.")
    try:
        page = build(runs_by_model(runs), resamples, title, partial(parallel_map, jobs=jobs), identify)
    except ValueError as error:
        raise BraindinoError(f"report: {error}.") from None
    with atomic_write(out) as file:
        file.write(render(page))
    print(f"wrote {out}")
    if tables is not None:
        for name, text in table_files(page).items():
            with atomic_write(tables / name) as file:
                file.write(text)
        print(f"wrote {len(table_files(page))} tables in {tables}")
    return 0
