"""Declare the shape of results.json."""

from typing import Any, Literal, NotRequired, TypedDict

from braindino.analysis.schemas.leakage import Audit


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
