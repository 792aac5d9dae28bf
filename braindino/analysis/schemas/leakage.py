"""Declare the shape of leakage.json, and of the audit in results.json."""

from typing import Any, NotRequired, TypedDict


class PretrainingOverlap(TypedDict):
    """People of a study whom the encoder has seen in pretraining.

    Attributes:
        people: their number.
        test: number of those in the test part.
        listed: their ids.
        scans: number of scans seen, by content; absent in results of earlier versions.
        by_name_only: number of people with the same dataset and id but different scans; absent likewise.
        gaps: reasons why the encoder's list of people is incomplete; absent likewise.
    """

    people: int
    test: int
    listed: list[str]
    scans: NotRequired[int]
    by_name_only: NotRequired[int]
    gaps: NotRequired[list[str]]


class Audit(TypedDict):
    """The leakage audit of a study.

    Attributes:
        shared_scans: scans, by content, of more than one person.
        shared_scans_across_parts: number of scans, by content, in more than one part of the split.
        pretraining: None if the encoder does not record whom it was pretrained on.
    """

    shared_scans: list[dict[str, Any]]
    shared_scans_across_parts: int
    pretraining: PretrainingOverlap | None


class OverlapAudit(TypedDict):
    """The part of an audit that concerns the encoder's pretraining.

    Attributes:
        pretraining: None if the encoder does not record whom it was pretrained on.
        shared_scans_across_parts: number of scans, by content, in more than one part of the split.
    """

    pretraining: PretrainingOverlap | None
    shared_scans_across_parts: NotRequired[int]


class Leakage(TypedDict):
    """The content of leakage.json, and the same part of results.json.

    Attributes:
        audit: the leakage audit.
    """

    audit: NotRequired[OverlapAudit]
