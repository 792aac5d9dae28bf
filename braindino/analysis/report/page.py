"""One self-contained page about probes: what they reach, against what, on whom, and how to repeat it."""

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.analysis.comparison.models import Divide, compare_sides, one_by_one
from braindino.analysis.figures.selection import Figure, figures_of
from braindino.analysis.figures.style import is_png, png
from braindino.analysis.metrics.headlines import heading, headlines
from braindino.analysis.report import tables
from braindino.analysis.report.notes import notes
from braindino.analysis.report.pseudonyms import Disguise
from braindino.analysis.report.tables import Table
from braindino.analysis.report.text import interval
from braindino.analysis.runs import Run
from braindino.csv_text import restore_table
from braindino.documents import read_text

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_DROPPED = 200  # rows; dropped.csv has them all
MAX_PICTURES = 24  # of a run's own
MAX_PICTURE = 8 << 20  # bytes

Sides = Mapping[str, Mapping[str, Run]]


@dataclass
class About:
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


@dataclass
class Section:
    """One task: its tables and figures, and its runs."""

    name: str
    what: str
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    runs: list[About] = field(default_factory=list)


@dataclass
class Page:
    """All of a report, before it is HTML."""

    title: str
    sections: list[Section]
    overview: Table
    said: list[str]


def build(
    sides: Sides, resamples: int, title: str, divide: Divide = one_by_one, identify: bool = False
) -> Page:
    """Put a report together.

    Args:
        sides: name of the model -> task -> its run (`sides_of`).
        resamples: draws of people for the comparison of models.
        divide: how comparisons, then tasks, are gone through; see `compare_sides`.
        identify: show subject ids, file names and absolute paths; by default pseudonyms and ends of paths.

    Raises:
        ValueError: a file of a run is missing or damaged, or the models contradict each other on a task.
    """
    tasks = list(dict.fromkeys(task for runs in sides.values() for task in runs))
    compared, said = _compared(sides, resamples, divide)
    disguise = Disguise(() if identify else _ids(sides), identify)
    each = [
        (
            disguise,
            task,
            {name: found[task] for name, found in sides.items() if task in found},
            compared[compared["task"] == task],
        )
        for task in tasks
    ]
    notes = [disguise.text(sentence) for sentence in said]
    return Page(title, list(divide(_section, each, "draw")), _overview(sides, tasks), notes)


def _section(part: tuple[Disguise, str, dict[str, Run], pd.DataFrame]) -> Section:
    """One task, from its name, its runs by model and the models' differences."""
    disguise, task, runs, compared = part
    section = Section(task, _what(next(iter(runs.values())).results))
    section.tables += tables.results_tables(runs)
    section.tables += tables.comparison_tables(compared)
    for make in (
        tables.baseline_tables,
        tables.age_bias_tables,
        tables.empty_tables,
        tables.subgroup_tables,
    ):
        section.tables += make(runs)
    section.figures = figures_of(runs, disguise)
    section.runs = [_about(name, run, disguise) for name, run in runs.items()]
    return section


def render(page: Page) -> str:
    """The page as HTML. Whatever comes from data is escaped; nothing is loaded, and nothing can run."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["slug"] = tables.slug
    made = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return environment.get_template("report.html").render(page=page, made=made, most=SHOWN_DROPPED)


def table_files(page: Page) -> dict[str, str]:
    """Name -> text of a CSV and a LaTeX file for every table of numbers on the page."""
    named = {"overview": page.overview}
    for section in page.sections:
        for table in section.tables:
            named[f"{tables.slug(section.name)}_{tables.slug(table.title)}"] = table
    files = {f"{name}.csv": table.csv() for name, table in named.items()}
    return files | {f"{name}.tex": table.latex() for name, table in named.items()}


def _compared(sides: Sides, resamples: int, divide: Divide) -> tuple[pd.DataFrame, list[str]]:
    """Models against the first, on the tasks that it shares with them; empty where there is nothing to do.

    Of runs of one label fraction each, those of the same fraction are compared.
    """
    first, *others = sides
    shared = [name for name in others if set(sides[name]) & set(sides[first])]
    if not shared:
        return pd.DataFrame({"task": []}), []
    predictions = {
        name: {task: run.predictions for task, run in sides[name].items()} for name in (first, *shared)
    }
    return compare_sides(predictions, resamples=resamples, divide=divide, stand_ins=True)


def _overview(sides: Sides, tasks: list[str]) -> Table:
    """A line per task and model: the first headline at the largest label fraction."""
    found = tables.Collected()
    for task in tasks:
        for model, runs in sides.items():
            if task not in runs:
                continue
            results, line = runs[task].results, tables.last_line(runs[task])
            metric = headlines(results["task"], results["classes"])[0]
            numbers = line["test"]["metrics"][metric]
            who = [f"{line['test']['cases']}", f"{line['test']['people']}"]
            titled = heading(metric, results)
            found.rows.append([task, model, f"{line['fraction']:.0%}", titled, *who, interval(numbers)])
            found.numbers.append({"task": task, "model": model, "metric": metric, **numbers})
    columns = ["task", "model", "labels", "metric", "test cases", "people", "value [95 % interval]"]
    return found.table(
        "Main metric of every task", columns, 4, "At the largest label fraction, mean over seeds."
    )


def _what(results: dict[str, Any]) -> str:
    target = " and ".join(results["target"]) or "regions of the mask"
    classes = f": {', '.join(results['classes'])}" if results["classes"] else ""
    return f"{results['task']} of {target}{classes}"


def _ids(sides: Sides) -> set[str]:
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


def _dropped_rows(run: Run, disguise: Disguise) -> pd.DataFrame:
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


def _about(model: str, run: Run, disguise: Disguise) -> About:
    results = run.results
    audit = results["audit"]
    seen = audit["pretraining"]
    config = run.file("config.yaml")
    return About(
        model=model,
        path=disguise.path(str(run.path), keep=3),
        encoder=f"{disguise.path(results['encoder']['name'])} (weights {results['encoder']['digest'][:12]})",
        selection=results["selection"],
        notes=[disguise.text(sentence) for sentence in notes(results)],
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


def _reasons(reasons: dict[str, int], disguise: Disguise) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for reason, count in reasons.items():
        counts[disguise.text(reason)] += count
    return dict(counts)


def _command(run: Run, disguise: Disguise) -> str:
    """The command of the last start, after the folder it was given in, which only `identify` shows."""
    if not run.starts:
        return ""
    start = run.starts[-1]
    command = disguise.text(shlex.join(start["command"]))
    return f"cd {shlex.quote(start['folder'])}\n{command}" if disguise.identify else command


def _pictures(run: Run, disguise: Disguise) -> list[Figure]:
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
