"""The verb `doctor`: show what is installed, what is missing, what the machine can do."""

import argparse
import json
import platform
import sys
import tempfile
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from braindino.cli.doctor import folders, machine, software, torch_build
from braindino.cli.doctor.checks import Check, Outcome, outcomes
from braindino.version import __version__

WIDTH = 110


def run(arguments: Sequence[str]) -> int:
    """Check everything and print the outcomes.

    Arguments are parsed by the standard library, because the parser of the other verbs may be broken.

    Args:
        arguments: words after the verb.

    Returns:
        0, or 1 if a check FAILs, or 2 for a wrong argument.
    """
    parser = argparse.ArgumentParser(
        "braindino doctor",
        description="Show what is installed and what is missing: PASS, WARN (works, but not everything or "
        "not well) or FAIL (something will not work), each with the remedy. Nothing is changed.",
        epilog="Exit codes: 0 nothing fails, 1 something does.",
        allow_abbrev=False,
    )
    parser.add_argument("--store", type=Path, help="folder of the store that you want to use")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (default: runs)")
    parser.add_argument("--json", action="store_true", help="print JSON for a program")
    try:
        given = parser.parse_args(list(arguments))
    except SystemExit as stop:  # --help, or a wrong argument, which argparse has printed
        return int(stop.code or 0)
    results = list(_with_progress(examine(given.store, given.runs)))
    failed = any(outcome.status == "FAIL" for _, outcome in results)
    if given.json:
        listed = [{"area": area, **_as_json(outcome)} for area, outcome in results]
        print(json.dumps({"braindino": __version__, "ok": not failed, "outcomes": listed}, indent=2))
    else:
        print("\n".join(report_lines(results)))
    return 1 if failed else 0


def _as_json(outcome: Outcome) -> dict[str, str]:
    return {
        "name": outcome.name,
        "status": outcome.status,
        "found": outcome.detail,
        "remedy": outcome.remedy,
    }


def _with_progress(results: Iterator[tuple[str, Outcome]]) -> Iterator[tuple[str, Outcome]]:
    """Yield the outcomes and show progress on a terminal, without a package that may be broken."""
    if not sys.stderr.isatty():
        yield from results
        return
    print("checking: 0 checks", end="", file=sys.stderr, flush=True)
    for number, (area, outcome) in enumerate(results, start=1):
        print(f"\r\033[Kchecking: {number} checks, {outcome.name}", end="", file=sys.stderr, flush=True)
        yield area, outcome
    print("\r\033[K", end="", file=sys.stderr, flush=True)


def examine(store: Path | None, runs: Path) -> Iterator[tuple[str, Outcome]]:
    """Yield every outcome with its area, in the order of the report.

    Args:
        store: folder of a store to check, if any.
        runs: folder of runs.
    """
    facts = torch_build.torch_facts()
    areas: dict[str, dict[str, Check]] = {
        "software": {
            "Python": software.python,
            "shipped configs": software.package,
            "torch starts": lambda: torch_build.pairing(facts),
        },
        "packages": {"packages": software.packages},
        "machine": {
            "GPU": lambda: torch_build.gpu(facts),
            "processors": machine.processors,
            "memory": machine.memory,
            "shared memory": machine.shared_memory,
            "open files": machine.open_files,
        },
        "folders": {
            "working folder": lambda: folders.folder("working folder", Path()),
            **({} if store is None else {"store": lambda: folders.store(store)}),
            "runs": lambda: folders.folder("runs", runs),
            "temporary folder": lambda: folders.folder("temporary folder", Path(tempfile.gettempdir())),
        },
        "programs": {
            "dcm2niix": machine.dicom,
            "git": machine.git,
            "SLURM": machine.slurm,
            "wandb uploads": lambda: folders.wandb(runs),
        },
    }
    for area, checks in areas.items():
        for name, check in checks.items():
            for outcome in outcomes(name, check):
                yield area, outcome


def report_lines(results: Sequence[tuple[str, Outcome]]) -> list[str]:
    """Return the report, a line per outcome; packages that pass share a paragraph."""
    lines = [f"braindino {__version__}, {platform.platform()}"]
    for area, group in groupby(results, key=itemgetter(0)):
        lines += ["", area]
        members = [outcome for _, outcome in group]
        if area == "packages":
            fine = [outcome for outcome in members if outcome.status == "PASS"]
            listed = ", ".join(f"{outcome.name} {outcome.detail}" for outcome in fine)
            lines += textwrap.wrap(listed, WIDTH, initial_indent="  PASS  ", subsequent_indent=" " * 8)
            members = [outcome for outcome in members if outcome.status != "PASS"]
        for outcome in members:
            lines.append(f"  {outcome.status}  {outcome.name:<22}  {outcome.detail}")
            lines += [f"{'':32}remedy: {outcome.remedy}"] if outcome.remedy else []
    counts = Counter(outcome.status for _, outcome in results)
    summary = [f"{counts[status]} {status}" for status in ("FAIL", "WARN", "PASS") if counts[status]]
    return [*lines, "", ", ".join(summary)]
