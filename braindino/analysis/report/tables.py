"""Build the tables of a report: cells as shown, and the numbers behind them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from braindino.analysis.formatting import format_difference, format_interval, format_number, format_p_value
from braindino.analysis.metrics.headlines import heading, headlines, shown_headlines
from braindino.analysis.runs import TaskRuns, largest_fraction_summary
from braindino.csv_text import csv_text

MAX_OPEN_ROWS = 20  # a table of subgroups with more rows is folded


@dataclass
class Table:
    """A table of a page.

    Attributes:
        title: title above the table.
        columns: headings.
        rows: cells as shown.
        numbers: numbers behind the cells, for the CSV.
        words: number of first columns that contain text, not numbers.
        note: sentence below the table.
        folded: whether the page shows only the title until the table is opened.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    numbers: pd.DataFrame
    words: int = 1
    note: str = ""
    folded: bool = False

    def csv(self) -> str:
        """Return the numbers as CSV."""
        return csv_text(self.numbers)

    def latex(self) -> str:
        """Return the rows as a `tabular` with the rules of booktabs; text from data is escaped."""
        table = pd.DataFrame(self.rows, columns=self.columns)
        layout = "l" * self.words + "r" * (len(self.columns) - self.words)
        return table.to_latex(index=False, escape=True, column_format=layout)


@dataclass
class Rows:
    """Rows of a table under construction.

    Attributes:
        cells: cells as shown.
        numbers: numbers for the CSV.
    """

    cells: list[list[str]] = field(default_factory=list)
    numbers: list[dict[str, Any]] = field(default_factory=list)

    def add(self, cells: list[str], *numbers: dict[str, Any]) -> None:
        """Add a row as shown, and the rows of the CSV that belong to it.

        Args:
            cells: cells as shown.
            numbers: rows of the CSV.
        """
        self.cells.append(cells)
        self.numbers += numbers

    def table(
        self, title: str, columns: Sequence[str], words: int, note: str = "", folded: bool = False
    ) -> Table:
        """Return the table.

        Args:
            title: title above the table.
            columns: headings.
            words: number of first columns that contain text.
            note: sentence below the table.
            folded: show only the title until the table is opened.
        """
        return Table(title, list(columns), self.cells, pd.DataFrame(self.numbers), words, note, folded)


def results_tables(runs: TaskRuns) -> list[Table]:
    """Return the table of headline metrics, by model and label fraction, on the test part.

    Args:
        runs: name of the model -> its run of the task.
    """
    rows = Rows()
    first = next(iter(runs.values())).results
    names = shown_headlines([run.results for run in runs.values()])
    over = "folds" if first.get("folds") else "seeds"
    for model, run in runs.items():
        for line in run.results["summary"]:
            metrics = line["test"]["metrics"]
            spread = (line["folds"] if over == "folds" else metrics)[names[0]]["sd"]
            cells = [
                model,
                f"{line['fraction']:.0%}",
                f"{sum(line['train_cases']) / len(line['train_cases']):.0f}",
                f"{line['test']['cases']}",
                *(format_interval(metrics[name]) for name in names),
                format_number(spread),
            ]
            keys = {"model": model, "fraction": line["fraction"], "cases": line["test"]["cases"]}
            rows.add(cells, *({**keys, "metric": name, **numbers} for name, numbers in metrics.items()))
    titles = [heading(name, first) for name in names]
    columns = ["model", "labels", "trained on", "tested on", *titles, f"sd ({over})"]
    note = (
        "Trained on and tested on: numbers of cases. Mean over seeds [95 % interval from resampling people]; "
        f"sd of {names[0]} over {over}."
    )
    return [rows.table("Results on the test part", columns, 1, note)]


def baseline_tables(runs: TaskRuns) -> list[Table]:
    """Return the table of the main metric of every probe against its baselines, if any.

    Further metrics, which a segmentation has, are in a second table, which is folded.

    Args:
        runs: name of the model -> its run of the task.
    """
    main, further = Rows(), Rows()
    for model, run in runs.items():
        metric = headlines(run.results["task"], run.results["classes"])[0]
        for name, baseline in run.results["baselines"].items():
            for line in baseline["advantage"]:
                summary = next(s for s in baseline["summary"] if s["fraction"] == line["fraction"])
                numbers = summary["test"]["metrics"][line["metric"]]
                cells = [
                    model,
                    name,
                    f"{line['fraction']:.0%}",
                    heading(line["metric"], run.results),
                    format_interval(numbers),
                    format_difference(line),
                    format_p_value(line.get("p")),
                    {True: "yes", False: "no", None: "undecided"}[line["beaten"]],
                ]
                keys = {"model": model, "baseline": name, "baseline_value": numbers["value"]}
                rows = main if line["metric"] == metric else further
                rows.add(cells, {**keys, **line})
    columns = ["model", "baseline", "labels", "metric", "baseline value", "difference", "p", "beaten"]
    note = "Difference: probe minus baseline, mean over seeds, on the same draws of people."
    built = [
        ("Against baselines", main, False),
        ("Against baselines, further metrics", further, True),
    ]
    return [rows.table(title, columns, 4, note, folded) for title, rows, folded in built if rows.cells]


def subgroup_tables(runs: TaskRuns) -> list[Table]:
    """Return the table of headline metrics by sex, age band, site and dataset, if there are any.

    Args:
        runs: name of the model -> its run of the task.
    """
    rows = Rows()
    first = next(iter(runs.values())).results
    names = headlines(first["task"], first["classes"])
    for model, run in runs.items():
        for trait, groups in largest_fraction_summary(run)["subgroups"].items():
            for group in groups:
                cells = [model, trait, group["group"], f"{group['cases']}", f"{group['people']}"]
                metrics = group["metrics"]
                if metrics is None:
                    rows.add([*cells, *["too few"] * len(names)])
                    continue
                undefined = group.get("undefined", {})
                values = [undefined.get(name) or format_interval(metrics[name]) for name in names]
                keys = {"model": model, "trait": trait, "group": group["group"], "people": group["people"]}
                rows.add([*cells, *values], *({**keys, "metric": name, **metrics[name]} for name in names))
    columns = ["model", "by", "group", "cases", "people", *(heading(name, first) for name in names)]
    note = "At the largest label fraction; groups of fewer than ten people have no numbers."
    folded = len(rows.cells) > MAX_OPEN_ROWS
    return [rows.table("Subgroups", columns, 3, note, folded)] if rows.cells else []


def age_bias_tables(runs: TaskRuns) -> list[Table]:
    """Return the table of brain age without its bias towards the mean, if the task is brain age.

    Args:
        runs: name of the model -> its run of the task.
    """
    rows = Rows()
    names = headlines("regression", ())
    for model, run in runs.items():
        corrected = largest_fraction_summary(run).get("without_age_bias")
        if corrected is None:
            continue
        line = [format_number(_mean(corrected[key])) for key in ("slope", "intercept")]
        metrics = corrected["metrics"]
        if metrics is None:
            rows.add([model, *line, f"blank: {corrected['undefined']}", *[""] * (len(names) - 1)])
            continue
        cells = [model, *line, *(format_interval(metrics[name]) for name in names)]
        rows.add(cells, *({"model": model, "metric": n, **numbers} for n, numbers in metrics.items()))
    first = next(iter(runs.values())).results
    columns = ["model", "slope", "intercept", *(heading(name, first) for name in names)]
    note = "The line prediction = intercept + slope age was fitted on validation (Cole et al. 2018)."
    return [rows.table("Without the age bias", columns, 1, note)] if rows.cells else []


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean, or None if a value is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def comparison_tables(table: pd.DataFrame) -> list[Table]:
    """Return the table of main tests, and folded that of all further ones, where there are any.

    Args:
        table: rows of `compare_models` of one task.
    """
    main = table.get("family", pd.Series(dtype=str)) == "main test"
    note = "On the test cases that both have; Holm's correction is over tasks, label fractions and pairs."
    columns = ["models", "labels", "stratum", "cases", "metric", "test", "difference", "p", "p (Holm)"]
    built = []
    for title, chosen, folded in (
        ("Models against each other", main, False),
        ("Further tests, and by age", ~main, True),
    ):
        rows = Rows()
        for row in table[chosen].to_dict("records"):
            cells = [
                f"{row['first']} less {row['second']}",
                f"{row['fraction']:.0%}",
                row["stratum"],
                f"{row['cases']}",
                row["metric"],
                row["test"],
                format_interval({"value": row["difference"], "low": row["low"], "high": row["high"]}),
                format_p_value(row["p"]),
                format_p_value(row["p_holm"]),
            ]
            rows.add(cells, {str(name): value for name, value in row.items()})
        if rows.cells:
            built.append(rows.table(title, columns, 6, note, folded))
    return built


def slug(text: str) -> str:
    """Return text as a name for a file: letters, digits and underscores.

    Args:
        text: a title.
    """
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").lower() or "table"
