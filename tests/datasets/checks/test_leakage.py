"""Leakage between parts raises; leakage that is only possible is reported."""

import pandas as pd
import pytest

from braindino.datasets.checks.leakage import audit
from braindino.errors import BraindinoError
from braindino.scans.seen import Seen

MODALITIES = ("T1w", "T2w")


def some_cases() -> pd.DataFrame:
    """Twelve people with two scans each, in three parts."""
    rows = [
        (f"c{i}", f"a:{i}", split, f"t1-{i}", f"t2-{i}")
        for i, split in enumerate(["train"] * 6 + ["val"] * 3 + ["test"] * 3)
    ]
    return pd.DataFrame(rows, columns=["case", "group", "split", "key_T1w", "key_T2w"])


def test_audit_without_overlap() -> None:
    report = audit(some_cases(), MODALITIES, None)
    assert report == {"shared_scans": [], "shared_scans_across_parts": 0, "pretraining": None}


def test_audit_lists_people_of_the_pretraining() -> None:
    cases = some_cases()
    test = cases.loc[cases["split"] == "test", "group"].iloc[0]
    train = cases.loc[cases["split"] == "train", "group"].iloc[0]
    report = audit(cases, MODALITIES, Seen(frozenset({test, train, "elsewhere:1"})))
    overlap = {"people": 2, "test": 1, "listed": sorted([test, train])}
    assert report["pretraining"] == {**overlap, "scans": 0, "by_name_only": 0, "gaps": []}


def test_audit_finds_copies_of_a_scan() -> None:
    cases = some_cases()
    train, test = (cases.index[cases["split"] == part][1] for part in ("train", "test"))
    cases.loc[test, "key_T1w"] = cases.loc[train, "key_T1w"]
    report = audit(cases, MODALITIES, None)
    assert report["shared_scans_across_parts"] == 1
    names = sorted(cases.loc[[train, test], "case"])
    assert report["shared_scans"] == [{"scan": cases.loc[train, "key_T1w"], "cases": names}]


def test_audit_refuses_a_person_in_two_parts_and_an_empty_part() -> None:
    cases = some_cases()
    cases.loc[0, "group"] = cases.loc[cases["split"] == "test", "group"].iloc[0]
    with pytest.raises(BraindinoError, match="1 people are in more than one part"):
        audit(cases, MODALITIES, None)
    cases = some_cases().query("split != 'val'")
    with pytest.raises(BraindinoError, match="the val part of the split has no cases"):
        audit(cases, MODALITIES, None)
