"""The verb `report`: write finished probes as one page, and as tables for a paper."""

from pathlib import Path


def report(
    *runs: Path,
    out: Path = Path("report.html"),
    tables: Path | None = None,
    title: str = "Probes of frozen encoders",
    resamples: int = 1000,
    jobs: int = 1,
    identify: bool = False,
) -> int:
    """Write one self-contained HTML page about finished probes.

    The page opens from disk and loads nothing. It shows results with intervals, label fractions, ROC,
    calibration, confusion, scatter, Kaplan-Meier, Dice, PCA maps of patch tokens, models against each other,
    baselines, subgroups, leakage audit, dropped rows, versions, and the command to repeat it. Models are
    compared where they share a label fraction, seed and test cases; other pairs are named. Subject ids are
    pseudonyms, and only the ends of paths are shown, so that the page can be shared.

    Args:
        runs: run folders of `probe`, or folders of them; runs of one encoder are one model.
        out: the HTML file.
        tables: folder for every table of numbers on the page, as CSV (not rounded) and LaTeX (as shown).
        title: title at the top of the page.
        resamples: draws of people for the comparison of models.
        jobs: processes side by side; the page does not depend on it.
        identify: show subject ids, file names, absolute paths and the folder of the command, for yourself.

    Returns:
        0.
    """
    from braindino.verbs.report import report as run

    result = run(runs, out, tables=tables, title=title, resamples=resamples, jobs=jobs, identify=identify)
    print(f"wrote {result.page}")
    if tables is not None:
        print(f"wrote {len(result.tables)} tables in {tables}")
    return 0
