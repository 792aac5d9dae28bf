"""One self-contained page about probes: what they reach, against what, on whom, and how to repeat it."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.analysis import tables
from braindino.analysis.comparison import Divide, compare_sides, one_by_one
from braindino.analysis.figures import png
from braindino.analysis.headlines import headlines
from braindino.analysis.notes import notes
from braindino.analysis.report_figures import Figure, figures_of
from braindino.analysis.runs import Run
from braindino.analysis.tables import Table
from braindino.analysis.text import interval

TEMPLATES = Path(__file__).parent / "templates"
SHOWN_DROPPED = 200  # rows; dropped.csv has them all
MOST_PICTURES = 24  # of a run's own

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


def build(sides: Sides, resamples: int, title: str, divide: Divide = one_by_one) -> Page:
    """Put a report together.

    Args:
        sides: name of the model -> task -> its run (`sides_of`).
        resamples: draws of people for the comparison of models.
        divide: how comparisons, then tasks, are gone through; see `compare_sides`.

    Raises:
        ValueError: a file of a run is missing or damaged, or the models contradict each other on a task.
    """
    tasks = list(dict.fromkeys(task for runs in sides.values() for task in runs))
    compared, said = _compared(sides, resamples, divide)
    each = [
        (
            task,
            {name: found[task] for name, found in sides.items() if task in found},
            compared[compared["task"] == task],
        )
        for task in tasks
    ]
    return Page(title, list(divide(_section, each, "draw")), _overview(sides, tasks), said)


def _section(part: tuple[str, dict[str, Run], pd.DataFrame]) -> Section:
    """One task, from its name, its runs by model and the models' differences."""
    task, runs, compared = part
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
    section.figures = figures_of(runs)
    section.runs = [_about(name, run) for name, run in runs.items()]
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
            found.rows.append([task, model, f"{line['fraction']:.0%}", metric, *who, interval(numbers)])
            found.numbers.append({"task": task, "model": model, "metric": metric, **numbers})
    columns = ["task", "model", "labels", "metric", "test cases", "people", "value [95 % interval]"]
    return found.table(
        "Main metric of every task", columns, 4, "At the largest label fraction, mean over seeds."
    )


def _what(results: dict[str, Any]) -> str:
    target = " and ".join(results["target"]) or "regions of the mask"
    classes = f": {', '.join(results['classes'])}" if results["classes"] else ""
    return f"{results['task']} of {target}{classes}"


def _about(model: str, run: Run) -> About:
    results = run.results
    audit = results["audit"]
    seen = audit["pretraining"]
    dropped = run.path / "dropped.csv"
    rows = pd.read_csv(dropped, dtype=str, keep_default_na=False) if dropped.is_file() else pd.DataFrame()
    config = run.path / "config.yaml"
    return About(
        model=model,
        path=str(run.path),
        encoder=f"{results['encoder']['name']} (weights {results['encoder']['digest'][:12]})",
        selection=results["selection"],
        notes=notes(results),
        parts=[(part, counts["cases"], counts["people"]) for part, counts in results["cases"].items()],
        audit=[
            ("people in more than one part of the split", "none (such a split is refused)"),
            ("scans, by content, in more than one part", str(audit["shared_scans_across_parts"])),
            ("scans, by content, of more than one person", str(len(audit["shared_scans"]))),
            (
                "people that the encoder was pretrained on",
                "not recorded by the encoder"
                if seen is None
                else f"{seen['people']}, of these {seen['test']} in test",
            ),
        ],
        seen=[] if seen is None else list(seen["listed"]),
        reasons=results.get("dropped", {}).get("reasons", {}),
        dropped=rows,
        starts=run.starts,
        command=shlex.join(run.starts[-1]["command"]) if run.starts else "",
        config=config.read_text(encoding="utf-8") if config.is_file() else "",
        pictures=_pictures(run),
    )


def _pictures(run: Run) -> list[Figure]:
    """PNGs that lie in the run folder or one folder below, such as maps and overlays."""
    found = sorted([*run.path.glob("*.png"), *run.path.glob("*/*.png")])[:MOST_PICTURES]
    return [Figure(str(path.relative_to(run.path)), png(path.read_bytes()), "") for path in found]
