"""Check that the parts of results.json fit together."""

from collections.abc import Iterator
from typing import Any

from braindino.analysis.metrics.headlines import headlines
from braindino.errors import DocumentError


def check_results(results: dict[str, Any], source: str) -> None:
    """Raise DocumentError where parts of results.json, each of the right shape, contradict each other."""
    problem = next(_contradictions(results), None)
    if problem is not None:
        raise DocumentError(f"{source}: {problem}; it was damaged or edited")


def _contradictions(results: dict[str, Any]) -> Iterator[str]:
    classes = len(results["classes"])
    names = headlines(results["task"], results["classes"])
    if results["task"] == "classification" and classes < 2:
        yield "key 'classes': a classification has two at least"
    parts = {"": results, **{f"baselines.{name}.": part for name, part in results["baselines"].items()}}
    for prefix, part in parts.items():
        yield from _wrong_summary(prefix, part, names)
        fractions = [line["fraction"] for line in part["summary"]]
        if fractions != [line["fraction"] for line in results["summary"]]:
            yield f"key '{prefix}summary': other label fractions than the study's"
        metrics = part["summary"][0]["test"]["metrics"]
        for i, line in enumerate(part.get("advantage", ())):
            if line["fraction"] not in fractions or line["metric"] not in metrics:
                yield f"key '{prefix}advantage[{i}]': its fraction or metric is not in the summary"
    summed = {line["fraction"] for line in results["summary"]}
    if not summed <= {cell["fraction"] for cell in results["cells"]}:
        yield "key 'cells': none of some label fraction of the summary"
    tests = [(f"cells[{i}]", cell) for i, cell in enumerate(results["cells"])]
    for i, line in enumerate(results["summary"]):
        tests += [(f"summary[{i}].pooled[{k}]", each) for k, each in enumerate(line.get("pooled", ()))]
        for trait, groups in line["subgroups"].items():
            for k, group in enumerate(groups):
                absent = [name for name in names if name not in (group["metrics"] or names)]
                if absent:
                    yield f"key 'summary[{i}].subgroups.{trait}[{k}].metrics.{absent[0]}' is missing"
    for key, each in tests:
        yield from _wrong_test(key, each, results["task"], classes)


def _wrong_summary(prefix: str, part: dict[str, Any], names: tuple[str, ...]) -> Iterator[str]:
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


def _wrong_test(key: str, tested: dict[str, Any], task: str, classes: int) -> Iterator[str]:
    """What the figures of a task need of one test part."""
    if task == "classification":
        rows = tested.get("confusion", [])
        if len(rows) != classes or any(len(row) != classes for row in rows):
            yield f"key '{key}.confusion': expected {classes} rows of {classes} counts"
    if task == "survival" and (curves := tested.get("kaplan_meier")):
        if any(len(group["at_risk"]) != len(curves["ticks"]) for group in curves["groups"].values()):
            yield f"key '{key}.kaplan_meier.ticks': not as many as numbers at risk"
        if any(len(group["time"]) != len(group["survival"]) for group in curves["groups"].values()):
            yield f"key '{key}.kaplan_meier.groups': not as many times as values"
