"""Declare the shape of leakage.json, and of the audit in results.json."""

from typing import Any, NotRequired, TypedDict


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
