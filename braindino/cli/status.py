"""The verb `status`: show how far benches and probes are."""

from pathlib import Path


def status(*folders: Path) -> int:
    """Show how many cells are done, and what is running, failed or interrupted.

    Args:
        folders: folders of a bench, of runs, or any folder above some runs.

    Returns:
        0; 1 when something failed.
    """
    from braindino.analysis.formatting import align_columns
    from braindino.verbs.status import status as run

    studies = run(folders)
    lines = [["", "done", "state", ""]]
    for study in studies:
        detail = study.reason.splitlines()[0] if study.reason else str(study.folder)
        lines.append([study.name, f"{study.done}/{study.cells}", study.state, detail])
    print("\n".join(align_columns(lines)))
    done, cells = sum(study.done for study in studies), sum(study.cells for study in studies)
    states = [study.state for study in studies]
    counts = {name: states.count(name) for name in dict.fromkeys(states)}
    print(f"{done} of {cells} done; " + ", ".join(f"{count} {name}" for name, count in counts.items()))
    return 1 if "failed" in states else 0
