"""Tables of a report: the cells that a reader sees, and beside them the numbers, as CSV and LaTeX."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from braindino.analysis.formatting import format_interval, format_number, format_p_value
from braindino.analysis.metrics.headlines import heading, headlines
from braindino.analysis.runs import TaskRuns, first_test_results, largest_fraction_summary
from braindino.csv_text import csv_text

LONG = 20  # rows, above which a table of details is folded

Line = dict[str, Any]


@dataclass
class Table:
    """`columns` and `rows` as shown, of which the first `words` hold text; `numbers` for the CSV.

    `folded`: on a page it is shown when asked for.
    """

    title: str
    columns: list[str]
    rows: list[list[str]]
    numbers: pd.DataFrame
    words: int = 1
    note: str = ""
    folded: bool = False

    def csv(self) -> str:
        """The numbers, a row each."""
        return csv_text(self.numbers)

    def latex(self) -> str:
        """A `tabular` with the rules of booktabs; text from data is escaped."""
        table = pd.DataFrame(self.rows, columns=self.columns)
        layout = "l" * self.words + "r" * (len(self.columns) - self.words)
        return table.to_latex(index=False, escape=True, column_format=layout)


@dataclass
class Collected:
    """Rows for the reader and for the CSV, put together one by one."""

    rows: list[list[str]] = field(default_factory=list)
    numbers: list[Line] = field(default_factory=list)

    def table(
        self, title: str, columns: Sequence[str], words: int, note: str = "", folded: bool = False
    ) -> Table:
        """The table of what was collected."""
        return Table(title, list(columns), self.rows, pd.DataFrame(self.numbers), words, note, folded)


def results_tables(runs: TaskRuns) -> list[Table]:
    """The headline metrics of every model and label fraction on the test part."""
    found = Collected()
    first = next(iter(runs.values())).results
    names = headlines(first["task"], first["classes"])
    over = "folds" if first.get("folds") else "seeds"
    for model, run in runs.items():
        for line in run.results["summary"]:
            metrics = line["test"]["metrics"]
            spread = (line["folds"] if over == "folds" else metrics)[names[0]]["sd"]
            known = {"model": model, "fraction": line["fraction"], "cases": line["test"]["cases"]}
            trained = f"{sum(line['train_cases']) / len(line['train_cases']):.0f}"
            found.rows.append(
                [
                    *(model, f"{line['fraction']:.0%}", trained, f"{line['test']['cases']}"),
                    *(format_interval(metrics[name]) for name in names),
                    format_number(spread),
                ]
            )
            found.numbers += [{**known, "metric": name, **numbers} for name, numbers in metrics.items()]
    titles = [heading(name, first) for name in names]
    columns = ["model", "labels", "trained on", "tested on", *titles, f"sd ({over})"]
    note = (
        "Trained and tested on: cases. Mean over seeds [95 % interval from resampling people]; "
        f"sd of {names[0]} over {over}."
    )
    return [found.table("Results on the test part", columns, 1, note)]


def baseline_tables(runs: TaskRuns) -> list[Table]:
    """The first headline of every probe against its baselines."""
    found = Collected()
    for model, run in runs.items():
        for name, baseline in run.results["baselines"].items():
            for line in baseline["advantage"]:
                theirs = next(s for s in baseline["summary"] if s["fraction"] == line["fraction"])
                value = theirs["test"]["metrics"][line["metric"]]
                verdict = {True: "yes", False: "no", None: "undecided"}[line["beaten"]]
                found.rows.append(
                    [
                        *(model, name, f"{line['fraction']:.0%}", heading(line["metric"], run.results)),
                        format_interval(value),
                        *(format_interval(line), format_p_value(line.get("p")), verdict),
                    ]
                )
                known = {"model": model, "baseline": name, "baseline_value": value["value"]}
                found.numbers.append({**known, **line})
    columns = ["model", "baseline", "labels", "metric", "baseline's", "difference", "p", "beaten"]
    note = "Difference: probe less baseline, on the same draws of people."
    return [found.table("Against baselines", columns, 4, note)] if found.rows else []


def subgroup_tables(runs: TaskRuns) -> list[Table]:
    """The headlines by sex, age band, site and dataset, at the largest label fraction."""
    found = Collected()
    names: tuple[str, ...] = ()
    for model, run in runs.items():
        line = largest_fraction_summary(run)
        names = headlines(run.results["task"], run.results["classes"])
        for trait, groups in line["subgroups"].items():
            for group in groups:
                metrics = group["metrics"]
                cells = ["too few"] * len(names)
                if metrics is not None:
                    why = group.get("undefined", {})
                    cells = [why.get(name) or format_interval(metrics[name]) for name in names]
                who = [f"{group['cases']}", f"{group['people']}"]
                found.rows.append([model, trait, group["group"], *who, *cells])
                known = {"model": model, "trait": trait, "group": group["group"], "people": group["people"]}
                for name in names if metrics is not None else ():
                    found.numbers.append({**known, "metric": name, **metrics[name]})
    first = next(iter(runs.values())).results
    columns = ["model", "by", "group", "cases", "people", *(heading(name, first) for name in names)]
    note = "At the largest label fraction; groups of fewer than ten people have no numbers."
    return [found.table("Subgroups", columns, 3, note, len(found.rows) > LONG)] if found.rows else []


def age_bias_tables(runs: TaskRuns) -> list[Table]:
    """Brain age after the bias towards the mean was taken out."""
    found = Collected()
    names = headlines("regression", ())
    for model, run in runs.items():
        corrected = largest_fraction_summary(run).get("without_age_bias")
        if corrected is not None:
            slope, start = (_mean(corrected[key]) for key in ("slope", "intercept"))
            metrics = corrected["metrics"]
            if metrics is None:
                blank = [f"blank: {corrected['undefined']}", *[""] * (len(names) - 1)]
                found.rows.append([model, format_number(slope), format_number(start), *blank])
                continue
            found.rows.append(
                [
                    model,
                    format_number(slope),
                    format_number(start),
                    *(format_interval(metrics[n]) for n in names),
                ]
            )
            found.numbers += [{"model": model, "metric": n, **numbers} for n, numbers in metrics.items()]
    first = next(iter(runs.values())).results
    columns = ["model", "slope", "intercept", *(heading(name, first) for name in names)]
    note = "The line prediction = intercept + slope age was fitted on validation (Cole et al. 2018)."
    return [found.table("Without the age bias", columns, 1, note)] if found.rows else []


def _mean(values: Sequence[float | None]) -> float | None:
    """The mean, or None where one is unknown."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def empty_tables(runs: TaskRuns) -> list[Table]:
    """Of a segmentation: how often there was nothing to find, or nothing was found."""
    found = Collected()
    for model, run in runs.items():
        for region, counts in (first_test_results(run).get("empty") or {}).items():
            found.rows.append([model, region, *(str(count) for count in counts.values())])
            found.numbers.append({"model": model, "region": region, **counts})
    columns = ["model", "region", "cases", "truth empty", "answer empty", "both empty"]
    note = (
        "Where the truth is empty Dice is blank; an empty answer alone is a Dice of 0; neither has an HD95."
    )
    return [found.table("Empty masks", columns, 2, note)] if found.rows else []


def comparison_tables(table: pd.DataFrame) -> list[Table]:
    """What `compare_sides` gives of one task: the main test of everybody, and folded all further ones."""
    main = table.get("family", pd.Series(dtype=str)) == "main test"
    titles = {"Models against each other": main, "Further tests, and by age": ~main}
    note = "On the test cases that both have; Holm's correction is over tasks, label fractions and pairs."
    columns = ["models", "labels", "who", "cases", "metric", "test", "difference", "p", "p (Holm)"]
    tables = []
    for title, chosen in titles.items():
        found = Collected()
        for row in table[chosen].to_dict("records"):
            found.numbers.append({str(name): value for name, value in row.items()})
            numbers = {"value": row["difference"], "low": row["low"], "high": row["high"]}
            found.rows.append(
                [
                    *(f"{row['first']} less {row['second']}", f"{row['fraction']:.0%}", row["stratum"]),
                    *(f"{row['cases']}", row["metric"], row["test"], format_interval(numbers)),
                    *(format_p_value(row["p"]), format_p_value(row["p_holm"])),
                ]
            )
        if found.rows:
            tables.append(found.table(title, columns, 6, note, title != "Models against each other"))
    return tables


def slug(text: str) -> str:
    """A name for a file: letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_").lower() or "table"
