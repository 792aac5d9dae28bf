"""Declare the shape of results.json, the results of a study."""

from typing import Any, Literal, NotRequired, TypedDict

from braindino.analysis.schemas.leakage import Audit


class Numbers(TypedDict):
    """A metric with its interval; None where a number is undefined.

    Attributes:
        value: the metric, mean over seeds.
        low: lower end of its interval.
        high: upper end of its interval.
        sd: standard deviation over seeds.
    """

    value: float | None
    low: float | None
    high: float | None
    sd: float | None


class Estimates(TypedDict):
    """The result of `metrics.estimates.estimate`.

    Attributes:
        cases: number of cases.
        people: number of people.
        resamples: draws of people for the intervals.
        redrawn: draws that lacked a class and were drawn again.
        metrics: name -> numbers.
        undefined: name of a metric without a value -> the reason.
    """

    cases: int
    people: int
    resamples: int
    redrawn: int
    metrics: dict[str, Numbers]
    undefined: NotRequired[dict[str, str]]


class LogRank(TypedDict):
    """A log-rank test.

    Attributes:
        statistic: chi-squared.
        p: p value.
    """

    statistic: float
    p: float


class RiskGroup(TypedDict):
    """A Kaplan-Meier curve.

    Attributes:
        cases: number of cases.
        events: number of observed events.
        time: times of the steps.
        survival: survival after each step.
        at_risk: number of cases at risk at each tick.
    """

    cases: int
    events: int
    time: list[float]
    survival: list[float]
    at_risk: list[int]


class RiskGroups(TypedDict):
    """The curves of both groups.

    Attributes:
        low: cases up to the median risk of training.
        high: cases above it.
    """

    low: RiskGroup
    high: RiskGroup


class KaplanMeier(TypedDict):
    """The result of `metrics.survival.kaplan_meier_by_risk`.

    Attributes:
        ticks: times at which numbers at risk are given.
        logrank: None where the test is undefined.
        logrank_undefined: the reason for that.
        groups: the curves.
    """

    ticks: list[float]
    logrank: LogRank | None
    logrank_undefined: NotRequired[str]
    groups: RiskGroups


class PartResult(TypedDict):
    """The test part of one seed, or of one cell.

    Attributes:
        test: estimates of the metrics.
        confusion: counts of a classification, true class in rows.
        kaplan_meier: curves of a survival task.
        empty: counts of empty masks of a segmentation, by region.
    """

    test: Estimates
    confusion: NotRequired[list[list[int]]]
    kaplan_meier: NotRequired[KaplanMeier | None]
    empty: NotRequired[dict[str, dict[str, int]] | None]


class CellResult(PartResult):
    """A cell of a study.

    Attributes:
        seed: seed of the cell.
        fraction: label fraction of the cell.
        fold: fold of cross-validation; None without.
        val: estimates on validation.
        chosen: options of a closed-form head, with their validation metrics.
    """

    seed: int
    fraction: float
    fold: NotRequired[int | None]
    val: Estimates
    chosen: NotRequired[dict[str, Any]]


class Spread(TypedDict):
    """A metric over folds.

    Attributes:
        mean: mean over folds.
        sd: standard deviation over folds.
        values: values of the folds, means over seeds.
    """

    mean: float | None
    sd: float | None
    values: list[float | None]


class Subgroup(TypedDict):
    """The cases with one value of a trait.

    Attributes:
        group: the value, such as "F" or "60-69".
        cases: number of cases.
        people: number of people.
        too_small: whether there are too few people for metrics.
        metrics: name -> numbers; None if too small.
        undefined: name of a metric without a value -> the reason.
    """

    group: str
    cases: int
    people: int
    too_small: bool
    metrics: dict[str, Numbers] | None
    undefined: NotRequired[dict[str, str]]


class CorrectedAge(TypedDict):
    """Brain age without its bias towards the mean.

    Attributes:
        slope: slope of prediction by age on validation, per seed or per seed and fold.
        intercept: likewise.
        metrics: name -> numbers; None if the bias cannot be removed.
        undefined: the reason for that.
    """

    slope: list[float | None]
    intercept: list[float | None]
    metrics: dict[str, Numbers] | None
    undefined: NotRequired[str]


class SummaryLine(TypedDict):
    """A label fraction of a baseline.

    Attributes:
        fraction: the label fraction.
        seeds: seeds that were trained.
        train_cases: number of training cases of each cell.
        test: estimates over all seeds.
        folds: metric -> its values over folds, in cross-validation.
        pooled: results of each seed over all folds, in cross-validation.
    """

    fraction: float
    seeds: list[int]
    train_cases: list[int]
    test: Estimates
    folds: NotRequired[dict[str, Spread]]
    pooled: NotRequired[list[PartResult]]


class DetailedLine(SummaryLine):
    """A label fraction of the study itself.

    Attributes:
        subgroups: trait -> its subgroups.
        nothing_to_find: region -> number of test cases whose true mask is empty.
        without_age_bias: metrics of brain age without its bias towards the mean.
    """

    subgroups: dict[str, list[Subgroup]]
    nothing_to_find: NotRequired[dict[str, int]]
    without_age_bias: NotRequired[CorrectedAge | None]


class Advantage(Numbers):
    """The difference of the probe minus a baseline.

    Attributes:
        fraction: the label fraction.
        metric: name of the metric.
        p: p value.
        beaten: whether the whole interval is on the better side; None without an interval.
    """

    fraction: float
    metric: str
    p: NotRequired[float | None]
    beaten: bool | None


class Baseline(TypedDict):
    """A baseline of the study.

    Attributes:
        summary: a line per label fraction with a finished cell.
        advantage: differences of the probe minus the baseline, per label fraction the main metric first.
    """

    summary: list[SummaryLine]
    advantage: list[Advantage]


class Counts(TypedDict):
    """The size of a part of the split.

    Attributes:
        cases: number of cases.
        people: number of people.
    """

    cases: int
    people: int


class EncoderIdentity(TypedDict):
    """The encoder of a study.

    Attributes:
        name: name of the encoder, as the study gives it.
        digest: digest of its weights and contract.
    """

    name: str
    digest: str


class RequestedCells(TypedDict):
    """The cells that the last call requested.

    Attributes:
        seeds: seeds of the cells.
        fractions: label fractions of the cells.
    """

    seeds: list[int]
    fractions: list[float]


class Dropped(TypedDict):
    """The numbers of scans and cases that are not used.

    Attributes:
        scans: number of scans.
        cases: number of cases.
        reasons: reason -> how often.
    """

    scans: int
    cases: int
    reasons: dict[str, int]


class Results(TypedDict):
    """The content of results.json.

    Attributes:
        task: kind of task.
        target: columns of the label.
        unit: unit of the target or of time.
        nsd_tolerance: tolerance of the surface Dice of a segmentation [mm].
        failed: errors of cells that were not trained.
        baselines_failed: baseline -> the reason why it, or some of its cells, was not computed.
        classes: names of the classes, or regions of a segmentation.
        encoder: its name and digest.
        selection: the protocol, as a sentence.
        folds: number of folds; None without cross-validation.
        asked: the cells that the last call requested.
        cases: part of the split -> its size.
        dropped: scans and cases that are not used.
        audit: the leakage audit.
        cells: a cell per seed, fraction and fold.
        summary: a line per label fraction.
        baselines: name -> baseline.
    """

    task: Literal["classification", "regression", "survival", "segmentation"]
    target: list[str]
    unit: NotRequired[str]
    nsd_tolerance: NotRequired[float]
    failed: NotRequired[list[str]]
    baselines_failed: NotRequired[dict[str, str]]
    classes: list[str]
    encoder: EncoderIdentity
    selection: str
    folds: int | None
    asked: RequestedCells
    cases: dict[str, Counts]
    dropped: Dropped
    audit: Audit
    cells: list[CellResult]
    summary: list[DetailedLine]
    baselines: dict[str, Baseline]
