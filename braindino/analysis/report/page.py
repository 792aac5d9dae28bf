"""One self-contained page about probes: what they reach, against what, on whom, and how to repeat it."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from braindino.analysis.comparison.compare_models import compare_models
from braindino.analysis.formatting import format_interval
from braindino.analysis.mapping import Mapper, serial_map
from braindino.analysis.metrics.headlines import heading, headlines
from braindino.analysis.report import tables
from braindino.analysis.report.figures import Figure, task_figures
from braindino.analysis.report.pseudonyms import Pseudonymiser
from braindino.analysis.report.run_details import SHOWN_DROPPED, RunDetails, run_details, run_ids
from braindino.analysis.report.tables import Table
from braindino.analysis.runs import ModelRuns, Run, largest_fraction_summary

TEMPLATES = Path(__file__).parent / "templates"


@dataclass
class Section:
    """One task: its tables and figures, and its runs."""

    name: str
    what: str
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    runs: list[RunDetails] = field(default_factory=list)


@dataclass
class Page:
    """All of a report, before it is HTML."""

    title: str
    sections: list[Section]
    overview: Table
    said: list[str]


def build(
    sides: ModelRuns, resamples: int, title: str, divide: Mapper = serial_map, identify: bool = False
) -> Page:
    """Put a report together.

    Args:
        sides: name of the model -> task -> its run (`runs_by_model`).
        resamples: draws of people for the comparison of models.
        divide: how comparisons, then tasks, are gone through; see `compare_sides`.
        identify: show subject ids, file names and absolute paths; by default pseudonyms and ends of paths.

    Raises:
        ValueError: a file of a run is missing or damaged, or the models contradict each other on a task.
    """
    tasks = list(dict.fromkeys(task for runs in sides.values() for task in runs))
    compared, said = _compared(sides, resamples, divide)
    disguise = Pseudonymiser(() if identify else run_ids(sides), identify)
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


def _section(part: tuple[Pseudonymiser, str, dict[str, Run], pd.DataFrame]) -> Section:
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
    section.figures = task_figures(runs, disguise)
    section.runs = [run_details(name, run, disguise) for name, run in runs.items()]
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


def _compared(sides: ModelRuns, resamples: int, divide: Mapper) -> tuple[pd.DataFrame, list[str]]:
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
    return compare_models(predictions, resamples=resamples, divide=divide, stand_ins=True)


def _overview(sides: ModelRuns, tasks: list[str]) -> Table:
    """A line per task and model: the first headline at the largest label fraction."""
    found = tables.Collected()
    for task in tasks:
        for model, runs in sides.items():
            if task not in runs:
                continue
            results, line = runs[task].results, largest_fraction_summary(runs[task])
            metric = headlines(results["task"], results["classes"])[0]
            numbers = line["test"]["metrics"][metric]
            who = [f"{line['test']['cases']}", f"{line['test']['people']}"]
            titled = heading(metric, results)
            found.rows.append(
                [task, model, f"{line['fraction']:.0%}", titled, *who, format_interval(numbers)]
            )
            found.numbers.append({"task": task, "model": model, "metric": metric, **numbers})
    columns = ["task", "model", "labels", "metric", "test cases", "people", "value [95 % interval]"]
    return found.table(
        "Main metric of every task", columns, 4, "At the largest label fraction, mean over seeds."
    )


def _what(results: dict[str, Any]) -> str:
    target = " and ".join(results["target"]) or "regions of the mask"
    classes = f": {', '.join(results['classes'])}" if results["classes"] else ""
    return f"{results['task']} of {target}{classes}"
