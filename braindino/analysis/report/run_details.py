"""Collect the details of one run that a report shows besides its numbers."""

import shlex
from collections import Counter
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.analysis.figures.data_uris import is_png, png
from braindino.analysis.report.figures import Figure
from braindino.analysis.report.notes import result_notes
from braindino.analysis.report.pseudonyms import Pseudonymiser
from braindino.analysis.runs import ModelRuns, Run
from braindino.csv_text import restore_table
from braindino.documents import read_text

SHOWN_DROPPED = 200  # rows; dropped.csv has them all


MAX_PICTURES = 24  # of a run's own


MAX_PICTURE = 8 << 20  # bytes


@dataclass
class RunDetails:
    """What a reader wants to know of one run besides its numbers."""

    model: str
    path: str
    encoder: str
    selection: str
    notes: list[str]
    parts: list[tuple[str, int, int]]
    audit: list[tuple[str, str]]
    seen: list[str]
    reasons: dict[str, int]
    dropped: pd.DataFrame
    starts: list[dict[str, Any]]
    command: str
    config: str
    pictures: list[Figure]


def run_ids(sides: ModelRuns) -> set[str]:
    """Ids of the people and cases of all runs: tested, trained on, dropped, and seen in pretraining."""
    ids: set[str] = set()
    for run in (run for runs in sides.values() for run in runs.values()):
        for table in (run.predictions, _text_table(run, "cases.csv"), _text_table(run, "dropped.csv")):
            for column in {"case", "group", "subject"} & set(table):
                ids.update(map(str, table[column].unique()))
        seen = run.results["audit"]["pretraining"]
        ids.update([] if seen is None else seen["listed"])
    return ids | {part for name in ids for part in name.split(":")[1:]}


def _text_table(run: Run, name: str) -> pd.DataFrame:
    """A CSV of a run as text; empty where there is none."""
    file = run.file(name)
    if not file.is_file():
        return pd.DataFrame()
    try:
        return restore_table(pd.read_csv(StringIO(read_text(file)), dtype=str, keep_default_na=False))
    except ValueError as error:
        raise ValueError(error if str(file) in str(error) else f"{file}: {error}") from None


def _dropped_rows(run: Run, disguise: Pseudonymiser) -> pd.DataFrame:
    """The rows of dropped.csv as they may be shown."""
    rows = _text_table(run, "dropped.csv")
    if disguise.identify:
        return rows
    shown = {
        name: rows[name].map(disguise.text if name == "reason" else disguise.person)
        for name in ("subject", "case", "reason")
        if name in rows
    }
    return pd.DataFrame(shown)


def run_details(model: str, run: Run, disguise: Pseudonymiser) -> RunDetails:
    """Collect the details of a run."""
    results = run.results
    audit = results["audit"]
    seen = audit["pretraining"]
    config = run.file("config.yaml")
    return RunDetails(
        model=model,
        path=disguise.path(str(run.path), keep=3),
        encoder=f"{disguise.path(results['encoder']['name'])} (weights {results['encoder']['digest'][:12]})",
        selection=results["selection"],
        notes=[disguise.text(sentence) for sentence in result_notes(results)],
        parts=[(part, counts["cases"], counts["people"]) for part, counts in results["cases"].items()],
        audit=[
            ("people in more than one part of the split", "none (such a split is refused)"),
            ("scans, by content, in more than one part", str(audit["shared_scans_across_parts"])),
            ("scans, by content, of more than one person", str(len(audit["shared_scans"]))),
            ("people that the encoder was pretrained on", _seen(seen)),
        ],
        seen=[] if seen is None else [disguise.person(name) for name in seen["listed"]],
        reasons=_reasons(results["dropped"]["reasons"], disguise),
        dropped=_dropped_rows(run, disguise),
        starts=run.starts,
        command=_command(run, disguise),
        config=disguise.text(read_text(config)) if config.is_file() else "",
        pictures=_pictures(run, disguise),
    )


def _seen(seen: dict[str, Any] | None) -> str:
    if seen is None:
        return "not recorded by the encoder"
    line = f"{seen['people']}, of these {seen['test']} in test"
    if alone := seen.get("by_name_only", 0):
        line += f"; {alone} by dataset and id only, with other scans"
    gaps = seen.get("gaps") or []
    return f"{line}; the list is INCOMPLETE: {'; '.join(gaps)}" if gaps else line


def _reasons(reasons: dict[str, int], disguise: Pseudonymiser) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for reason, count in reasons.items():
        counts[disguise.text(reason)] += count
    return dict(counts)


def _command(run: Run, disguise: Pseudonymiser) -> str:
    """The command of the last start, after the folder it was given in, which only `identify` shows."""
    if not run.starts:
        return ""
    start = run.starts[-1]
    command = disguise.text(shlex.join(start["command"]))
    return f"cd {shlex.quote(start['folder'])}\n{command}" if disguise.identify else command


def _pictures(run: Run, disguise: Pseudonymiser) -> list[Figure]:
    """PNGs that lie in the run folder or one folder below, such as maps and overlays.

    A link is not followed and a file that is no PNG not shown: the page would carry the content of any file
    that whoever made the run folder knew the path of.
    """
    paths = sorted([*run.path.glob("*.png"), *run.path.glob("*/*.png")])[:MAX_PICTURES]
    figures = []
    for number, path in enumerate(paths, start=1):
        name = str(path.relative_to(run.path)) if disguise.identify else f"picture {number}"
        content, problem = _read_png(run, path)
        figures.append(
            Figure(name, png(content) if content else "", f"Not shown: {problem}." if problem else "")
        )
    return figures


def _read_png(run: Run, path: Path) -> tuple[bytes, str]:
    """The bytes of a PNG in a run folder, or why they are not shown."""
    if path.is_symlink() or path.resolve() != run.path.resolve() / path.relative_to(run.path):
        return b"", "a link, which is not followed"
    if not path.is_file():
        return b"", "not a file"
    if path.stat().st_size > MAX_PICTURE:
        return b"", f"larger than {MAX_PICTURE >> 20} MB"
    content = path.read_bytes()
    if not is_png(content):
        return b"", "not a PNG"
    return content, ""
