"""Build and render one self-contained page about finished probes."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from braindino.analysis.comparison.compare_models import compare_models
from braindino.analysis.formatting import format_interval
from braindino.analysis.mapping import Mapper, serial_map
from braindino.analysis.metrics.headlines import heading, headlines
from braindino.analysis.report import tables
from braindino.analysis.report.figures import ReportFigure, task_figures
from braindino.analysis.report.mask_tables import empty_tables, region_tables
from braindino.analysis.report.pseudonyms import Pseudonymiser
from braindino.analysis.report.run_details import MAX_DROPPED_ROWS, RunDetails, run_details, run_ids
from braindino.analysis.report.tables import Table
from braindino.analysis.runs import ModelRuns, TaskRuns, largest_fraction_summary

TEMPLATES = Path(__file__).parent / "templates"


@dataclass
class Section:
    """A task on the page.

    Attributes:
        name: name of the task.
        description: the kind of task and its target.
        tables: tables with results of all models.
        figures: figures with results of all models.
        runs: details of each run.
    """

    name: str
    description: str
    tables: list[Table] = field(default_factory=list)
    figures: list[ReportFigure] = field(default_factory=list)
    runs: list[RunDetails] = field(default_factory=list)


@dataclass
class Page:
    """The content of a report, before it is rendered as HTML.

    Attributes:
        title: title at the top.
        sections: one per task.
        overview: the main metric of every task.
        notes: sentences about what the comparison of models excludes.
    """

    title: str
    sections: list[Section]
    overview: Table
    notes: list[str]


class _Task(NamedTuple):
    """A task, as one unit of work for a `Mapper`.

    Attributes:
        name: name of the task.
        runs: name of the model -> its run.
        compared: the differences between models on this task.
        pseudonymiser: pseudonymiser of the page.
    """

    name: str
    runs: TaskRuns
    compared: pd.DataFrame
    pseudonymiser: Pseudonymiser


def build_page(
    models: ModelRuns,
    resamples: int,
    title: str,
    mapper: Mapper = serial_map,
    identify: bool = False,
) -> Page:
    """Build a report.

    Args:
        models: name of the model -> task -> its run (`runs_by_model`).
        resamples: draws of people for the comparison of models.
        title: title at the top of the page.
        mapper: applies the comparison, then the drawing, to each part; see `compare_models`.
        identify: show subject ids, file names and absolute paths, instead of pseudonyms and ends of paths.

    Raises:
        ValueError: a file of a run is missing or damaged, or the models contradict each other about a task.
    """
    names = list(dict.fromkeys(task for runs in models.values() for task in runs))
    compared, notes = _compare_models(models, resamples, mapper)
    pseudonymiser = Pseudonymiser(() if identify else run_ids(models), identify)
    tasks = [
        _Task(
            name,
            {model: runs[name] for model, runs in models.items() if name in runs},
            compared[compared["task"] == name],
            pseudonymiser,
        )
        for name in names
    ]
    sections = list(mapper(_section, tasks, "draw"))
    return Page(title, sections, _overview(models, names), [pseudonymiser.text(note) for note in notes])


def _section(task: _Task) -> Section:
    """Build the section of one task."""
    runs = task.runs
    return Section(
        name=task.name,
        description=_description(next(iter(runs.values())).results),
        tables=[
            *tables.results_tables(runs),
            *tables.comparison_tables(task.compared),
            *tables.baseline_tables(runs),
            *tables.age_bias_tables(runs),
            *region_tables(runs),
            *empty_tables(runs),
            *tables.subgroup_tables(runs),
        ],
        figures=task_figures(runs, task.pseudonymiser),
        runs=[run_details(model, run, task.pseudonymiser) for model, run in runs.items()],
    )


def render(page: Page) -> str:
    """Return the page as HTML. Text from data is escaped; no script runs and nothing is loaded.

    Args:
        page: result of `build_page`.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html")
    created = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return template.render(page=page, created=created, max_dropped_rows=MAX_DROPPED_ROWS)


def table_files(page: Page) -> dict[str, str]:
    """Return file name -> text: a CSV and a LaTeX file for every table of the page.

    Args:
        page: result of `build_page`.
    """
    named = {"overview": page.overview}
    for section in page.sections:
        for table in section.tables:
            named[f"{tables.slug(section.name)}_{tables.slug(table.title)}"] = table
    files = {f"{name}.csv": table.csv() for name, table in named.items()}
    return files | {f"{name}.tex": table.latex() for name, table in named.items()}


def _compare_models(models: ModelRuns, resamples: int, mapper: Mapper) -> tuple[pd.DataFrame, list[str]]:
    """Compare models with the first one, on the tasks that they share; empty if they share none."""
    first, *further = models
    shared = [name for name in further if set(models[name]) & set(models[first])]
    if not shared:
        return pd.DataFrame({"task": []}), []
    predictions = {
        name: {task: run.predictions for task, run in models[name].items()} for name in (first, *shared)
    }
    return compare_models(predictions, resamples=resamples, mapper=mapper, stand_ins=True)


def _overview(models: ModelRuns, tasks: list[str]) -> Table:
    """Tabulate the main metric of every task and model, at the largest label fraction."""
    rows = tables.Rows()
    for task in tasks:
        for model, runs in models.items():
            if task not in runs:
                continue
            results, line = runs[task].results, largest_fraction_summary(runs[task])
            metric = headlines(results["task"], results["classes"])[0]
            numbers = line["test"]["metrics"][metric]
            cells = [
                task,
                model,
                f"{line['fraction']:.0%}",
                heading(metric, results),
                f"{line['test']['cases']}",
                f"{line['test']['people']}",
                format_interval(numbers),
            ]
            rows.add(cells, {"task": task, "model": model, "metric": metric, **numbers})
    columns = ["task", "model", "labels", "metric", "test cases", "people", "value [95 % interval]"]
    note = "At the largest label fraction, mean over seeds."
    return rows.table("Main metric of every task", columns, 4, note)


def _description(results: dict[str, Any]) -> str:
    target = " and ".join(results["target"]) or "regions of the mask"
    classes = f": {', '.join(results['classes'])}" if results["classes"] else ""
    return f"{results['task']} of {target}{classes}"
