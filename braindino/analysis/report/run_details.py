"""Collect the details of one run that a report shows besides its numbers."""

import shlex
from collections import Counter
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.analysis.figures.data_uris import is_png, png
from braindino.analysis.report.figures import ReportFigure
from braindino.analysis.report.notes import result_notes
from braindino.analysis.report.pseudonyms import Pseudonymiser
from braindino.analysis.runs import ModelRuns, Run
from braindino.csv_text import restore_table
from braindino.documents import load_text

MAX_DROPPED_ROWS = 200  # shown on the page; dropped.csv lists all
MAX_PICTURES = 24  # of a run folder
MAX_PICTURE = 8 << 20  # bytes


@dataclass
class RunDetails:
    """The details of one run.

    Attributes:
        model: its name on the page.
        path: end of the run folder's path.
        encoder: its name and the start of the digest of its weights.
        selection: the protocol, as a sentence.
        notes: sentences about the results.
        parts: name of a part of the split, and its numbers of cases and people.
        audit: rows of the leakage audit, a label and a value.
        seen: people in the study whom the encoder has seen in pretraining.
        reasons: reason -> number of dropped rows.
        dropped: rows of dropped.csv.
        starts: entries of environment.json.
        command: command of the last start; empty if unknown.
        config: text of config.yaml; empty without one.
        pictures: PNGs of the run folder.
    """

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
    pictures: list[ReportFigure]


def run_details(model: str, run: Run, pseudonymiser: Pseudonymiser) -> RunDetails:
    """Collect the details of a run.

    Args:
        model: its name on the page.
        run: the run.
        pseudonymiser: replaces ids and absolute paths.

    Raises:
        ValueError: a file of the run is missing or damaged.
    """
    results = run.results
    audit = results["audit"]
    seen = audit["pretraining"]
    encoder = results["encoder"]
    config = run.file("config.yaml")
    return RunDetails(
        model=model,
        path=pseudonymiser.path(str(run.path), parts=3),
        encoder=f"{pseudonymiser.path(encoder['name'])} (weights {encoder['digest'][:12]})",
        selection=results["selection"],
        notes=[pseudonymiser.text(note) for note in result_notes(results)],
        parts=[(part, counts["cases"], counts["people"]) for part, counts in results["cases"].items()],
        audit=[
            ("people in more than one part of the split", "none (such a split is refused)"),
            ("scans, by content, in more than one part", str(audit["shared_scans_across_parts"])),
            ("scans, by content, of more than one person", str(len(audit["shared_scans"]))),
            ("people that the encoder was pretrained on", _seen_in_pretraining(seen)),
        ],
        seen=[] if seen is None else [pseudonymiser.person(name) for name in seen["listed"]],
        reasons=_reasons(results["dropped"]["reasons"], pseudonymiser),
        dropped=_dropped_rows(run, pseudonymiser),
        starts=run.starts,
        command=_command(run, pseudonymiser),
        config=pseudonymiser.text(load_text(config)) if config.is_file() else "",
        pictures=_pictures(run, pseudonymiser),
    )


def run_ids(models: ModelRuns) -> set[str]:
    """Return the ids of all people and cases of runs, dropped and pretraining ones included.

    Args:
        models: name of the model -> task -> its run.
    """
    ids: set[str] = set()
    for run in (run for runs in models.values() for run in runs.values()):
        for table in (run.predictions, _text_table(run, "cases.csv"), _text_table(run, "dropped.csv")):
            for column in {"case", "group", "subject"} & set(table):
                ids.update(map(str, table[column].unique()))
        seen = run.results["audit"]["pretraining"]
        ids.update([] if seen is None else seen["listed"])
    return ids | {part for name in ids for part in name.split(":")[1:]}


def _text_table(run: Run, name: str) -> pd.DataFrame:
    """Return a CSV of a run with all cells as text; empty if it does not exist."""
    file = run.file(name)
    if not file.is_file():
        return pd.DataFrame()
    try:
        return restore_table(pd.read_csv(StringIO(load_text(file)), dtype=str, keep_default_na=False))
    except ValueError as error:
        raise ValueError(error if str(file) in str(error) else f"{file}: {error}") from None


def _dropped_rows(run: Run, pseudonymiser: Pseudonymiser) -> pd.DataFrame:
    """Return the rows of dropped.csv, without paths and ids unless the page identifies people."""
    rows = _text_table(run, "dropped.csv")
    if pseudonymiser.identify:
        return rows
    shown = {
        name: rows[name].map(pseudonymiser.text if name == "reason" else pseudonymiser.person)
        for name in ("subject", "case", "reason")
        if name in rows
    }
    return pd.DataFrame(shown)


def _seen_in_pretraining(seen: dict[str, Any] | None) -> str:
    """Return the numbers of people that an audit lists as seen in pretraining."""
    if seen is None:
        return "not recorded by the encoder"
    line = f"{seen['people']}, of these {seen['test']} in test"
    if name_only := seen.get("by_name_only", 0):
        line += f"; {name_only} by dataset and id only, with different scans"
    gaps = seen.get("gaps") or []
    return f"{line}; the list is INCOMPLETE: {'; '.join(gaps)}" if gaps else line


def _reasons(reasons: dict[str, int], pseudonymiser: Pseudonymiser) -> dict[str, int]:
    """Return pseudonymised reasons with their counts; reasons that become equal are added up."""
    counts: Counter[str] = Counter()
    for reason, count in reasons.items():
        counts[pseudonymiser.text(reason)] += count
    return dict(counts)


def _command(run: Run, pseudonymiser: Pseudonymiser) -> str:
    """Return the command of the last start, with its folder if the page identifies people."""
    if not run.starts:
        return ""
    start = run.starts[-1]
    command = pseudonymiser.text(shlex.join(start["command"]))
    return f"cd {shlex.quote(start['folder'])}\n{command}" if pseudonymiser.identify else command


def _pictures(run: Run, pseudonymiser: Pseudonymiser) -> list[ReportFigure]:
    """Return the PNGs in the run folder and one folder below, such as maps and overlays.

    Links are not followed and only PNGs are shown: a run folder from another person could contain links to
    any file of the reader, whose content the page would then contain.
    """
    paths = sorted([*run.path.glob("*.png"), *run.path.glob("*/*.png")])[:MAX_PICTURES]
    figures = []
    for number, path in enumerate(paths, start=1):
        title = str(path.relative_to(run.path)) if pseudonymiser.identify else f"picture {number}"
        content, problem = _read_png(run, path)
        source, caption = (png(content), "") if content else ("", f"Not shown: {problem}.")
        figures.append(ReportFigure(title, source, caption))
    return figures


def _read_png(run: Run, path: Path) -> tuple[bytes, str]:
    """Return the bytes of a PNG in a run folder, or no bytes and the reason why it is not shown."""
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
