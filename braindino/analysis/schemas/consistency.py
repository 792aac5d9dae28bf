"""Check that the parts of results.json do not contradict each other."""

from collections.abc import Iterator
from typing import Any

from braindino.analysis.metrics.headlines import headlines
from braindino.errors import DocumentError


def check_results(results: dict[str, Any], source: str) -> None:
    """Raise DocumentError if parts of results.json contradict each other.

    Args:
        results: its content, of the shape `Results`.
        source: the file, for the message.

    Raises:
        DocumentError: names the first key that does not fit.
    """
    problem = next(_problems(results), None)
    if problem is not None:
        raise DocumentError(f"{source}: {problem}; it was damaged or edited")


def _problems(results: dict[str, Any]) -> Iterator[str]:
    names = headlines(results["task"], results["classes"])
    if results["task"] == "classification" and len(results["classes"]) < 2:
        yield "key 'classes': a classification has at least two"
    fractions = [line["fraction"] for line in results["summary"]]
    parts = {"": results, **{f"baselines.{name}.": part for name, part in results["baselines"].items()}}
    for prefix, part in parts.items():
        yield from _summary_problems(prefix, part, names)
        yield from _fraction_problems(prefix, part, fractions)
    if not set(fractions) <= {cell["fraction"] for cell in results["cells"]}:
        yield "key 'cells': none of some label fraction of the summary"
    yield from _subgroup_problems(results["summary"], names)
    for key, test in _test_results(results):
        yield from _test_problems(key, test, results["task"], len(results["classes"]))


def _summary_problems(prefix: str, part: dict[str, Any], names: tuple[str, ...]) -> Iterator[str]:
    """Yield problems within the summary of the study or of a baseline."""
    if not part["summary"]:
        yield f"key '{prefix}summary': empty, expected a line per label fraction"
    for i, line in enumerate(part["summary"]):
        key = f"{prefix}summary[{i}]"
        if not line["seeds"] or not line["train_cases"]:
            yield f"key '{key}.seeds' or '{key}.train_cases': empty"
        absent = [name for name in names if name not in line["test"]["metrics"]]
        if absent:
            yield f"key '{key}.test.metrics.{absent[0]}' is missing"
        if "folds" in line and names[0] not in line["folds"]:
            yield f"key '{key}.folds.{names[0]}' is missing"
        if not line.get("pooled", [None]):
            yield f"key '{key}.pooled': empty"


def _fraction_problems(prefix: str, part: dict[str, Any], fractions: list[float]) -> Iterator[str]:
    """Yield problems of the label fractions of the study or of a baseline, which may lack some."""
    present = [line["fraction"] for line in part["summary"]]
    if not set(present) <= set(fractions):
        yield f"key '{prefix}summary': other label fractions than the study's"
    metrics = part["summary"][0]["test"]["metrics"]
    for i, line in enumerate(part.get("advantage", ())):
        if line["fraction"] not in present or line["metric"] not in metrics:
            yield f"key '{prefix}advantage[{i}]': its fraction or metric is not in the summary"


def _subgroup_problems(summary: list[dict[str, Any]], names: tuple[str, ...]) -> Iterator[str]:
    """Yield headline metrics that a subgroup lacks."""
    for i, line in enumerate(summary):
        for trait, groups in line["subgroups"].items():
            for k, group in enumerate(groups):
                absent = [name for name in names if name not in (group["metrics"] or names)]
                if absent:
                    yield f"key 'summary[{i}].subgroups.{trait}[{k}].metrics.{absent[0]}' is missing"


def _test_results(results: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the key and the content of every test part."""
    for i, cell in enumerate(results["cells"]):
        yield f"cells[{i}]", cell
    for i, line in enumerate(results["summary"]):
        for k, pooled in enumerate(line.get("pooled", ())):
            yield f"summary[{i}].pooled[{k}]", pooled


def _test_problems(key: str, test: dict[str, Any], task: str, classes: int) -> Iterator[str]:
    """Yield problems of a test part that its figures would fail on."""
    if task == "classification":
        rows = test.get("confusion", [])
        if len(rows) != classes or any(len(row) != classes for row in rows):
            yield f"key '{key}.confusion': expected {classes} rows of {classes} counts"
    if task == "survival" and (curves := test.get("kaplan_meier")):
        if any(len(group["at_risk"]) != len(curves["ticks"]) for group in curves["groups"].values()):
            yield f"key '{key}.kaplan_meier.ticks': not as many as numbers at risk"
        if any(len(group["time"]) != len(group["survival"]) for group in curves["groups"].values()):
            yield f"key '{key}.kaplan_meier.groups': not as many times as values"
