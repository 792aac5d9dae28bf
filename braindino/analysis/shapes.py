"""Declare the shape of the files in a run folder that are read again, for `braindino.documents.check`."""

from collections.abc import Iterator
from typing import Any, Literal, NotRequired, TypedDict

from braindino.analysis.metrics.headlines import headlines
from braindino.errors import DocumentError


class Numbers(TypedDict):
    """A metric with its interval; None where it is undefined."""

    value: float | None
    low: float | None
    high: float | None
    sd: float | None


class Estimates(TypedDict):
    """What `statistics.estimate` returns."""

    cases: int
    people: int
    resamples: int
    redrawn: int
    metrics: dict[str, Numbers]
    undefined: NotRequired[dict[str, str]]


class LogRank(TypedDict):
    """A log-rank test."""

    statistic: float
    p: float


class RiskGroup(TypedDict):
    """One curve of Kaplan and Meier."""

    cases: int
    events: int
    time: list[float]
    survival: list[float]
    at_risk: list[int]


class RiskGroups(TypedDict):
    """Both curves."""

    low: RiskGroup
    high: RiskGroup


class KaplanMeier(TypedDict):
    """What `survival.kaplan_meier_by_risk` returns."""

    ticks: list[float]
    logrank: LogRank | None
    logrank_undefined: NotRequired[str]
    groups: RiskGroups


class Tested(TypedDict):
    """The test part of one seed, or of one cell."""

    test: Estimates
    confusion: NotRequired[list[list[int]]]
    kaplan_meier: NotRequired[KaplanMeier | None]
    empty: NotRequired[dict[str, dict[str, int]] | None]


class CellResult(Tested):
    """One cell of a study."""

    seed: int
    fraction: float
    fold: NotRequired[int | None]
    val: Estimates
    chosen: NotRequired[dict[str, Any]]


class Spread(TypedDict):
    """A metric over folds."""

    mean: float | None
    sd: float | None
    values: list[float | None]


class Subgroup(TypedDict):
    """Cases with one trait."""

    group: str
    cases: int
    people: int
    too_small: bool
    metrics: dict[str, Numbers] | None
    undefined: NotRequired[dict[str, str]]


class Corrected(TypedDict):
    """Brain age without its bias towards the mean."""

    slope: list[float | None]
    intercept: list[float | None]
    metrics: dict[str, Numbers] | None
    undefined: NotRequired[str]


class SummaryLine(TypedDict):
    """One label fraction of a baseline."""

    fraction: float
    seeds: list[int]
    train_cases: list[int]
    test: Estimates
    folds: NotRequired[dict[str, Spread]]
    pooled: NotRequired[list[Tested]]


class DetailedLine(SummaryLine):
    """One label fraction of the study itself."""

    subgroups: dict[str, list[Subgroup]]
    nothing_to_find: NotRequired[dict[str, int]]
    without_age_bias: NotRequired[Corrected | None]


class Advantage(Numbers):
    """The probe less a baseline."""

    fraction: float
    metric: str
    p: NotRequired[float | None]
    beaten: bool | None


class Baseline(TypedDict):
    """A baseline beside the study."""

    summary: list[SummaryLine]
    advantage: list[Advantage]


class Counts(TypedDict):
    """A part of the split."""

    cases: int
    people: int


class Named(TypedDict):
    """The encoder."""

    name: str
    digest: str


class Asked(TypedDict):
    """The cells that the last call asked for."""

    seeds: list[int]
    fractions: list[float]


class Dropped(TypedDict):
    """How much is not used."""

    scans: int
    cases: int
    reasons: dict[str, int]


class Seen(TypedDict):
    """People seen in pretraining."""

    people: int
    test: int
    listed: list[str]
    scans: NotRequired[int]  # not in results of earlier versions, nor the following
    by_name_only: NotRequired[int]
    gaps: NotRequired[list[str]]


class Audit(TypedDict):
    """The leakage audit."""

    shared_scans: list[dict[str, Any]]
    shared_scans_across_parts: int
    pretraining: Seen | None


class OverlapAudit(TypedDict):
    """The part of an audit that concerns the encoder's pretraining."""

    pretraining: Seen | None
    shared_scans_across_parts: NotRequired[int]


class Leakage(TypedDict):
    """leakage.json of a kNN, and what results.json has of it."""

    audit: NotRequired[OverlapAudit]


class Results(TypedDict):
    """results.json of a study."""

    task: Literal["classification", "regression", "survival", "segmentation"]
    target: list[str]
    unit: NotRequired[str]
    failed: NotRequired[list[str]]
    baselines_failed: NotRequired[dict[str, str]]
    classes: list[str]
    encoder: Named
    selection: str
    folds: int | None
    asked: Asked
    cases: dict[str, Counts]
    dropped: Dropped
    audit: Audit
    cells: list[CellResult]
    summary: list[DetailedLine]
    baselines: dict[str, Baseline]


class Start(TypedDict):
    """One start of a run."""

    started: str
    command: list[str]
    folder: str
    braindino: str
    commit: str | None
    python: str
    platform: str
    versions: dict[str, str | None]  # null: not installed
    devices: list[str]
    threads: int


class Environment(TypedDict):
    """environment.json of a run."""

    starts: list[Start]


class PlannedFolder(TypedDict):
    """The run folder of one study of a bench."""

    folder: str


class BenchOrder(TypedDict):
    """What of bench.json gives the order of its runs."""

    studies: list[PlannedFolder]


class PlannedStudy(PlannedFolder):
    """One study of a bench."""

    task: str
    encoder: str


class BenchRecord(TypedDict):
    """bench.json of a bench."""

    cells: int
    studies: list[PlannedStudy]


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
